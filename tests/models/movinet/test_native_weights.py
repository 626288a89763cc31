"""Every value is restored correctly from files that the Model Garden's code of 2021 wrote."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.console import UserError
from pipeline.models.movinet.network.build import build_backbone, build_classifier
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.checkpoints import restore, variable_keys
from pipeline.models.movinet.network.weights.finding import find_weights
from pipeline.models.movinet.network.weights.layouts import contents_of

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    folder = os.environ.get("MOVINET_REAL_DATA")
    if not folder:
        pytest.skip("MOVINET_REAL_DATA names no folder with published/")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return Path(folder) / "published"


def digest(variable: tf.Variable) -> str:
    return hashlib.sha256(variable.numpy().tobytes()).hexdigest()


def test_a_saved_model_of_a0_stream_restores_value_by_value(published, capsys):
    variant = VARIANTS["a0_stream"]
    classifier = build_classifier(variant, build_backbone(variant))
    prefix = find_weights(str(published / "native_a0_stream_savedmodel_variables.tar"), variant)
    assert restore(classifier, prefix, "native") == 389
    assert "left out 2 values that are not of the network (keras_api/metrics/0/count" in capsys.readouterr().err
    written = json.loads((published / "native_a0_stream_values.json").read_text())  # in the order of the writer's variables
    variables, checkpoint = variable_keys(model=classifier), read_prefix(prefix)
    numbers = {
        key: int(own.split("/")[1]) for key, own in contents_of(checkpoint.index.shapes, checkpoint.names).variables.items()
    }
    assert sorted(numbers.values()) == list(range(389))
    assert {key: written[number]["sha256"] for key, number in numbers.items()} == {
        key: digest(variable) for key, variable in variables.items()
    }
    # The orders differ, so restoring by order would assign values to other variables.
    assert [digest(variable) for variable in classifier.variables] != [entry["sha256"] for entry in written]


def test_a_checkpoint_of_a0_base_restores_value_by_value(published):
    variant = VARIANTS["a0"]
    classifier = build_classifier(variant, build_backbone(variant))
    prefix = find_weights(str(published / "native_a0_base_checkpoint.tar"), variant)
    assert restore(classifier, prefix, "native") == 334
    reader = tf.train.load_checkpoint(str(prefix))
    for key, variable in variable_keys(model=classifier).items():
        assert (reader.get_tensor(key) == variable.numpy()).all(), key
    before = [digest(variable) for variable in classifier.variables]
    stream = find_weights(str(published / "native_a0_stream_savedmodel_variables.tar"), variant)
    with pytest.raises(UserError, match="these are weights of a0_stream, not of a0; set model=a0_stream"):
        restore(classifier, stream, "native")
    assert [digest(variable) for variable in classifier.variables] == before
