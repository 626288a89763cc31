"""TF_CONFIG: which process is the chief, and the error for an invalid value."""

import json

import pytest

from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.training.tf_config import is_chief
from tests.test_params import composed


def finetune(distribute: str, kind: str = "full"):
    return parse_params(composed(f"finetune={kind}", f"finetune.distribute={distribute}")).finetune


def config(kind: str, index: int, **cluster) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config("worker", 0, worker=["a:1", "b:1"]), True),
        (config("worker", 1, worker=["a:1", "b:1"]), False),
        (config("chief", 0, chief=["a:1"], worker=["b:1"]), True),
        (config("worker", 0, chief=["a:1"], worker=["b:1"]), False),
    ],
)
def test_exactly_one_process_is_the_chief(monkeypatch, text, expected):
    monkeypatch.setenv("TF_CONFIG", text)
    assert is_chief(finetune("multi_worker")) is expected
    assert is_chief(finetune("none")) and is_chief(finetune("mirrored"))


@pytest.mark.parametrize(
    "text", [None, "", "[1]", "{}", config("worker", 2, worker=["a:1"]), config("evaluator", 0, worker=["a:1"])]
)
def test_an_invalid_tf_config_is_a_one_line_error(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG") as caught:
        is_chief(finetune("multi_worker"))
    assert "\n" not in str(caught.value)
