"""Every family offers what `pipeline.models.family` says, and others know it by that alone."""

import inspect
import re
from importlib import import_module

import pytest

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models import family as families
from pipeline.models.family import FAMILIES, ModelSettings, pretrained_ids, settings_class, settings_of
from tests.imports import FAMILY, ROOT, called_by_family, modules

OPTIONAL = {"pretrained", "frame_graph"}
OFFERED = {name.removeprefix(f"{FAMILY}."): module for name, module in called_by_family().items()}
REQUIRED = [(name, module) for name, module in OFFERED.items() if module not in {*OPTIONAL, "settings"}]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "module"), REQUIRED)
def test_a_family_offers_each_function_with_the_same_arguments(family, name, module):
    offered = getattr(import_module(f"pipeline.models.{family}.{module}"), name)
    arguments = list(inspect.signature(offered).parameters)
    assert arguments == list(inspect.signature(getattr(families, name)).parameters)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_states_its_settings(family):
    settings = settings_class(family)
    assert issubclass(settings, ModelSettings) and settings.model_fields.keys() >= ModelSettings.model_fields.keys()
    assert {"streams", "cost"} <= vars(settings).keys(), "the base class defines neither"


def test_no_module_outside_the_families_asks_which_family_it_is():
    pattern = re.compile(r"family\s*(==|!=|in)\s*[\"'(\[]")
    paths = [path for name, path in modules().items() if not name.startswith(tuple(f"pipeline.models.{one}" for one in FAMILIES))]
    found = [path.relative_to(ROOT).as_posix() for path in paths if pattern.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_unknown_families_and_ids_are_refused():
    with pytest.raises(UserError, match=r"model\.family = 'vit': not one of cnn_rnn, movinet"):
        settings_class("vit")
    assert set(pretrained_ids().values()) == {"movinet"} and "a0_stream" in pretrained_ids()
    described = {"classes": ["a"], "fps": 5, "size": 64, "count": 8, "views": 1}
    old = ClassifierDescription(model="a2", **described)  # as it was written before there were families
    assert settings_of(old).id == "a2" and settings_of(old).family == "movinet"
    with pytest.raises(UserError, match="does not say how the model was built; train it again"):
        settings_of(ClassifierDescription(family="cnn_rnn", model="cnn_rnn_mobilenet", **described))
