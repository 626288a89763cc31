"""Baselines of cases that are computed by hand."""

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import Baselines, ClassifierDescription
from pipeline.console import UserError
from pipeline.evaluation.baselines import ReorderedPredictions, measure_baselines, predict_reordered_features
from pipeline.settings import Evaluate

CLASSES = ["jump", "run", "sit"]
EVALUATE = Evaluate(views=2, bootstrap=500, confidence=0.95, bins=5, baseline_clips=200, occlusion_clips=0)
# Eight clips of four groups: four of class 0, three of class 1, one of class 2; the classifier mistakes the last one.
ACTUAL, PREDICTED = [0, 0, 0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 1, 1, 1]
GROUPS = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])


def _test() -> pd.DataFrame:
    names = np.array(CLASSES, dtype=object)
    return pd.DataFrame({"group": GROUPS, "actual": names[ACTUAL], "predicted": names[PREDICTED]})


def _measure(train_clips: dict[str, int], reordered: ReorderedPredictions | None = None) -> Baselines:
    return measure_baselines(_test(), CLASSES, train_clips, reordered, EVALUATE, seed=1)


def test_the_largest_class_is_that_of_training():
    """Class 1 is the largest in training, though class 0 has more test clips: 3 of 8 are right."""
    found = _measure({"jump": 10, "run": 30, "sit": 20})
    assert found.largest_class_name == "run"
    assert found.largest_class.top1 == 3 / 8 and found.largest_class.log_loss is None
    assert found.largest_class.gain == (7 - 3) / 8
    assert found.largest_class.top1_low == 0 and 0.75 <= found.largest_class.top1_high <= 1
    assert found.one_view is None and found.top1_by_name() == {"largest_class": 3 / 8}


def test_of_equally_large_classes_the_first_counts_and_missing_ones_are_empty():
    assert _measure({"sit": 20, "run": 20}).largest_class_name == "run"


def _sure(predicted: list[int], sure: float = 0.8) -> np.ndarray:
    return np.where(np.eye(3)[predicted] == 1, sure, (1 - sure) / 2)


def test_the_classifier_is_compared_with_itself_on_the_same_clips():
    """As recorded 6 of 6 are right, with one frame 4, both mistakes in group b; shuffled 5."""
    labels = [0, 0, 1, 1, 2, 2]
    recorded, repeated, shuffled = _sure(labels), _sure([0, 0, 0, 0, 2, 2]), _sure([0, 0, 1, 1, 2, 0], 0.6)
    probabilities = np.stack([recorded, repeated, shuffled], axis=1)
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    found = _measure({"jump": 1}, ReorderedPredictions(np.array(labels), groups, probabilities))
    assert (found.clips, found.groups) == (6, 3)
    assert found.top1_by_name() == {"largest_class": 0.5, "one_view": 1, "one_frame": 4 / 6, "shuffled": 5 / 6}
    assert (found.one_view.gain, found.one_view.top1_low, found.one_view.top1_high) == (None, 1, 1)
    assert found.one_frame.gain == pytest.approx(2 / 6) and found.shuffled.gain == pytest.approx(1 / 6)
    assert (found.one_frame.gain_low, found.one_frame.gain_high) == (0, 1), "group b may be drawn never or three times"
    assert found.one_frame.top1_low == 0
    assert found.one_view.log_loss == pytest.approx(-np.log(0.8))
    assert found.one_frame.log_loss == pytest.approx(-(4 * np.log(0.8) + 2 * np.log(0.1)) / 6)
    assert found.shuffled.log_loss == pytest.approx(-(5 * np.log(0.6) + np.log(0.2)) / 6)


def test_clips_of_one_group_have_no_intervals():
    one = ReorderedPredictions(np.array([0, 1]), np.array(["a", "a"]), np.stack([_sure([0, 1])] * 3, axis=1))
    found = _measure({"jump": 1}, one)
    assert (found.one_frame.gain, found.one_frame.gain_low, found.one_frame.top1_high) == (0, None, None)


def test_embeddings_without_these_views_are_an_error(tmp_path):
    description = ClassifierDescription(classes=CLASSES, model="a0", fps=5, size=32, count=4, views=2)
    with pytest.raises(UserError, match="without views for the baselines"):
        predict_reordered_features(tmp_path, tmp_path, description)
