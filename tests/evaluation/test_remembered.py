"""What was computed is found again where all inputs are equal, and only there."""

import numpy as np
import pytest

from pipeline.evaluation import remembered
from pipeline.evaluation.remembered import remember

FEATURES = np.arange(6, dtype=np.float32).reshape(3, 2)
GROUPS = np.array(["g1", "g1", "g2"], dtype=object)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def refuse():
    raise AssertionError("computed again")


def test_equal_inputs_are_not_computed_again():
    result = {"value": 0.1 + 0.2, "nan": float("nan"), "reason": None}
    first = remember("test", (FEATURES, GROUPS), ["a"], lambda: result)
    again = remember("test", (FEATURES.copy(), np.array(["g1", "g1", "g2"])), ["a"], refuse)
    assert repr(first) == repr(again) == repr(result), "to the last digit"


@pytest.mark.parametrize(
    ("kind", "arrays", "others"),
    [
        ("other", (FEATURES, GROUPS), ["a"]),
        ("test", (FEATURES + 1e-6, GROUPS), ["a"]),
        ("test", (FEATURES.reshape(2, 3), GROUPS), ["a"]),
        ("test", (FEATURES.astype(np.float64), GROUPS), ["a"]),
        ("test", (FEATURES, np.array(["g1", "g2", "g2"], dtype=object)), ["a"]),
        ("test", (FEATURES, GROUPS), ["b"]),
    ],
)
def test_other_inputs_are_computed(kind, arrays, others):
    remember("test", (FEATURES, GROUPS), ["a"], lambda: 1)
    assert remember(kind, arrays, others, lambda: 2) == 2


def test_other_code_and_other_versions_compute_again(monkeypatch):
    remember("test", (FEATURES,), [], lambda: 1)
    monkeypatch.setattr(remembered.metadata, "version", lambda name: "0")
    assert remember("test", (FEATURES,), [], lambda: 2) == 2
    monkeypatch.setattr(remembered, "_code", lambda: "other")
    assert remember("test", (FEATURES,), [], lambda: 3) == 3
