"""Scores compared with scikit-learn and with cases computed by hand."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from pipeline.console import UserError
from pipeline.evaluation.log_loss import LOG_LOSS_FLOOR, log_loss
from pipeline.evaluation.metrics import (
    SCORES_WITH_INTERVALS,
    calibration_bins,
    confusion_matrix,
    expected_calibration_error,
    most_confused_pairs,
    per_class_scores,
    score,
    top_k_hits,
)
from pipeline.evaluation.selective import SelectiveScores

SETTINGS = SimpleNamespace(bootstrap=300, confidence=0.95, bins=15)


def _made(clips: int = 240, classes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, clips)
    scores = random.normal(0, 1, (clips, classes))
    scores[np.arange(clips), labels] += 1.5
    chances = np.exp(scores)
    return chances / chances.sum(1, keepdims=True), labels, np.array([f"g{i % 40:02d}" for i in range(clips)])


def test_scores_equal_those_of_scikit_learn():
    chances, labels, groups = _made()
    result = score(chances, labels, groups, SETTINGS, seed=1)
    predicted = chances.argmax(1)
    assert result.top1 == pytest.approx(reference.accuracy_score(labels, predicted))
    assert result.top5 == pytest.approx(reference.top_k_accuracy_score(labels, chances, k=5))
    assert result.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert result.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert result.log_loss == pytest.approx(reference.log_loss(labels, chances))
    assert (result.clips, result.groups) == (240, 40)


def test_scores_are_plain_numbers_in_the_order_of_metrics_json():
    result = score(*_made(), SETTINGS, seed=1).model_dump()
    intervals = [f"{name}{end}" for name in SCORES_WITH_INTERVALS for end in ("", "_low", "_high")]
    of_unknown = list(SelectiveScores._fields)  # which `selective_scores` computes
    assert list(result) == [*intervals, "log_loss", "ece", "clips", "groups", *of_unknown]
    assert [result.pop(name) for name in of_unknown] == [None] * len(of_unknown)
    assert json.loads(json.dumps(result)) == result
    assert {type(value) for value in result.values()} == {float, int}
    for name in SCORES_WITH_INTERVALS:
        assert result[f"{name}_low"] < result[name] < result[f"{name}_high"]


def test_intervals_depend_on_the_seed():
    made = _made()
    assert score(*made, SETTINGS, seed=1) == score(*made, SETTINGS, seed=1)
    assert score(*made, SETTINGS, seed=1).top1_low != score(*made, SETTINGS, seed=3).top1_low


def test_correlated_clips_widen_the_interval():
    chances, labels, _ = _made(clips=60)
    chances, labels = np.repeat(chances, 6, axis=0), np.repeat(labels, 6)
    by_group = score(chances, labels, np.repeat(np.arange(60), 6).astype(str), SETTINGS, seed=1).model_dump()
    by_clip = score(chances, labels, np.arange(360).astype(str), SETTINGS, seed=1).model_dump()
    for name in ("top1", "macro_f1", "balanced_accuracy"):
        assert by_group[name] == by_clip[name]
        ratio = (by_group[f"{name}_high"] - by_group[f"{name}_low"]) / (by_clip[f"{name}_high"] - by_clip[f"{name}_low"])
        assert 1.8 < ratio < 3.2  # in theory the square root of 6


def test_one_group_has_scores_without_intervals():
    chances, labels, _ = _made()
    result = score(chances, labels, np.full(len(labels), "only"), SETTINGS, seed=1).model_dump()
    assert result["top1"] > 0.5
    assert [result[f"{name}_{end}"] for name in SCORES_WITH_INTERVALS for end in ("low", "high")] == [None] * 8


def test_top5_of_fewer_classes_is_always_right():
    chances, labels, groups = _made(classes=3)
    result = score(chances, labels, groups, SETTINGS, seed=1)
    assert (result.top5, result.top5_low, result.top5_high) == (1, 1, 1)


def test_macro_f1_is_over_the_classes_that_have_clips():
    """Class 2 has no clips and is predicted once: F1 is 2/3 for class 0, 1 for class 1, and class 2 does not count."""
    chances = np.eye(3)[[0, 2, 1, 1]]
    result = score(chances, np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"]), SETTINGS, seed=1)
    assert result.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


def test_balanced_accuracy_counts_small_classes_as_much_as_large_ones():
    """Nine of nine clips of class 0 and none of one of class 1 are right; class 2 has no clips."""
    chances = np.eye(3)[[0] * 10]
    labels = np.array([0] * 9 + [1])
    result = score(chances, labels, np.arange(10).astype(str), SETTINGS, seed=1)
    assert (result.top1, result.balanced_accuracy) == (0.9, 0.5)
    assert result.balanced_accuracy_low == 0.5, "a resample with class 0 alone has 1, one with both has 1/2"
    assert result.balanced_accuracy_high == 1


def test_ties_go_to_the_lower_label():
    chances = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    assert top_k_hits(chances, np.array([0, 1]), 1).tolist() == [True, False]
    assert top_k_hits(chances, np.array([0, 1]), 2).tolist() == [True, True]
    assert top_k_hits(np.full((6, 6), 1 / 6), np.arange(6), 5).tolist() == [True] * 5 + [False]


def test_log_loss_is_finite_where_a_probability_is_zero():
    chances = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert log_loss(chances, np.array([1, 0])) == pytest.approx((-np.log(LOG_LOSS_FLOOR) + np.log(2)) / 2)


def test_calibration_bins_and_ece_by_hand():
    """Confidences 0.55 (right), 0.6 (wrong) and 0.9 (right) in five bins: 0.6 belongs to the bin that ends there."""
    chances = np.array([[0.55, 0.45], [0.4, 0.6], [0.9, 0.1]])
    bins = calibration_bins(chances, np.array([0, 0, 0]), 5)
    assert bins["clips"].tolist() == [0, 0, 2, 0, 1]
    assert bins["low"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert bins["confidence"][2] == pytest.approx(0.575)
    assert bins["accuracy"][2] == pytest.approx(0.5)
    assert bins["confidence"].isna().tolist() == [True, True, False, True, False]
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.075 + 1 * 0.1) / 3)


def test_confidence_one_is_in_the_last_bin_and_ece_is_zero_when_calibrated():
    bins = calibration_bins(np.eye(4), np.arange(4), 15)
    assert bins["clips"].tolist() == [0] * 14 + [4]
    assert expected_calibration_error(bins) == 0


def test_per_class_scores_of_present_and_empty_classes():
    labels, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 1])
    table = per_class_scores(labels, predicted, ["a", "b", "c", "d"])
    assert table.columns.tolist() == ["class", "clips", "precision", "recall", "f1"]
    assert table["class"].tolist() == ["a", "b", "c", "d"]
    assert table["clips"].tolist() == [2, 3, 1, 0]
    assert table["precision"].tolist() == pytest.approx([1 / 2, 1 / 2, 0, 0])
    assert table["recall"].tolist() == pytest.approx([1 / 2, 2 / 3, 0, 0])
    assert table["f1"].tolist() == pytest.approx([1 / 2, 4 / 7, 0, 0])


def test_confusion_has_actual_classes_as_rows():
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 2]), 3)
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert np.issubdtype(matrix.dtype, np.integer)
    chances, labels, _ = _made()
    assert np.array_equal(confusion_matrix(labels, chances.argmax(1), 8), reference.confusion_matrix(labels, chances.argmax(1)))
    assert confusion_matrix(np.array([], int), np.array([], int), 2).tolist() == [[0, 0], [0, 0]]


def test_most_confused_pairs_are_ordered_by_clips_then_share():
    matrix = np.array([[10, 2, 0], [1, 0, 2], [0, 5, 1]])
    table = most_confused_pairs(matrix, ["a", "b", "c"], 3)
    assert table[["actual", "predicted", "clips"]].to_numpy().tolist() == [["c", "b", 5], ["b", "c", 2], ["a", "b", 2]]
    assert table["share"].tolist() == pytest.approx([5 / 6, 2 / 3, 2 / 12])
    assert len(most_confused_pairs(matrix, ["a", "b", "c"], 99)) == 4


def test_perfect_classifier_has_no_confused_pairs():
    table = most_confused_pairs(np.diag([3, 2]), ["a", "b"], 5)
    assert table.empty
    assert table.columns.tolist() == ["actual", "predicted", "clips", "share"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.__setitem__((3, 1), np.nan), "1 of 240 clips have non-finite values, first in row 3; the training diverged"),
        (lambda p: p.__setitem__((4, slice(None)), 0.5), r"row 4 is not a distribution \(sum 4"),
        (lambda p: p.__setitem__((5, slice(0, 2)), [-0.5, p[5, :2].sum() + 0.5]), "row 5 is not a distribution .* -0.5"),
    ],
)
def test_invalid_probabilities_are_refused(spoil, message):
    chances, labels, groups = _made()
    spoil(chances)
    with pytest.raises(UserError, match=message):
        score(chances, labels, groups, SETTINGS, seed=1)


def test_empty_split_is_refused():
    with pytest.raises(UserError, match=r"no clips to score; check data\.split"):
        score(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0, str), SETTINGS, seed=1)


def test_mismatched_shapes_and_labels_are_refused():
    chances, labels, groups = _made()
    with pytest.raises(ValueError, match="240 integer labels"):
        score(chances, labels[:-1], groups, SETTINGS, seed=1)
    with pytest.raises(ValueError, match="integer labels"):
        score(chances, labels.astype(float), groups, SETTINGS, seed=1)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.7"):
        score(chances, labels + 1, groups, SETTINGS, seed=1)
    with pytest.raises(ValueError, match="240 groups"):
        score(chances, labels, groups[:5], SETTINGS, seed=1)
    with pytest.raises(ValueError, match="clips, classes"):
        score(chances[0], labels, groups, SETTINGS, seed=1)
    with pytest.raises(ValueError, match="2 classes"):
        most_confused_pairs(np.zeros((3, 3)), ["a", "b"], 1)


def test_most_confused_pairs_survive_csv(tmp_path):
    most_confused_pairs(np.array([[1, 1], [0, 1]]), ["a", "b"], 1).to_csv(tmp_path / "pairs.csv", index=False)
    assert pd.read_csv(tmp_path / "pairs.csv").to_dict("records") == [{"actual": "a", "predicted": "b", "clips": 1, "share": 0.5}]


def test_what_a_probe_and_its_evaluation_need_is_imported_without_tensorflow_and_a_report_without_scikit_learn():
    code = (
        "import sys, stages.report, stages.evaluate, pipeline.explanation.explain; assert 'sklearn' not in sys.modules; "
        "import stages.finetune, pipeline.training.probe, pipeline.models.movinet.linear_top; "
        "assert 'tensorflow' not in sys.modules and 'tf_keras' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
