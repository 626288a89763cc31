"""Accuracy and coverage with unknown predictions, on cases worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.artifacts import Decision
from pipeline.evaluation.decision import Answers, find_answers
from pipeline.evaluation.selective import accuracy_by_coverage, accuracy_intervals, selective_scores

SETTINGS = SimpleNamespace(bootstrap=300, confidence=0.9)
CLASSES = ["a", "b", "none"]
GROUPS = np.array(["g1", "g1", "g2", "g2", "g3"])


def decision(threshold: float, background: str | None = None) -> Decision:
    rest = {"by": "coverage", "level": 0.9, "coverage": 0.9, "precision": 0.9, "clip_seconds": 1.0}
    return Decision(threshold=threshold, background=background, **rest)


def rows(*confidences: float) -> np.ndarray:
    """Probabilities of three classes, of which the first is the most probable with these confidences."""
    return np.array([[value, 0.6 * (1 - value), 0.4 * (1 - value)] for value in confidences])


def scores(probabilities, labels, threshold=0.6, background=None, groups=GROUPS):
    return selective_scores(probabilities, np.array(labels), groups, CLASSES, decision(threshold, background), SETTINGS, 1)


def test_the_curve_goes_from_the_most_to_the_least_confident_clip():
    labels = np.array([0, 1, 0, 0, 0])
    curve = accuracy_by_coverage(find_answers(rows(0.7, 0.9, 0.8, 0.6, 0.95)), labels)
    assert curve["score"].tolist() == [0.95, 0.9, 0.8, 0.7, 0.6]
    np.testing.assert_allclose(curve["coverage"], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(curve["accuracy"], [1, 1 / 2, 2 / 3, 3 / 4, 4 / 5])


def test_clips_of_equal_confidence_count_as_their_mean_whatever_their_order():
    probabilities = rows(0.9, 0.7, 0.7)
    for labels in ([0, 0, 1], [0, 1, 0]):
        curve = accuracy_by_coverage(find_answers(probabilities), np.array(labels))
        np.testing.assert_allclose(curve["accuracy"], [1, 0.75, 2 / 3])


def test_aurc_is_the_mean_risk_and_accuracy_is_at_90_per_cent():
    found = scores(rows(0.95, 0.9, 0.8, 0.7, 0.65), [0, 1, 0, 0, 1])
    assert found.aurc == pytest.approx(np.mean([0, 1 / 2, 1 / 3, 1 / 4, 2 / 5]))
    assert found.accuracy_at_90_coverage == pytest.approx(3 / 5)  # of five clips, four are fewer than 90%
    ten = selective_scores(rows(*np.linspace(0.95, 0.5, 10)), np.array([0] * 9 + [1]), np.arange(10), CLASSES, None, SETTINGS, 1)
    assert (ten.accuracy_at_90_coverage, ten.aurc) == (1.0, pytest.approx(0.01))
    assert ten[2:] == (None,) * 6  # without a threshold


def test_the_scores_at_the_threshold_count_clips_that_reach_it():
    found = scores(rows(0.95, 0.9, 0.8, 0.6, 0.59), [0, 1, 0, 0, 0])
    assert (found.coverage, found.accuracy_when_known) == (0.8, 0.75)
    assert found.coverage_low < 0.8 < found.coverage_high == 1.0
    assert found.accuracy_when_known_low < 0.75 < found.accuracy_when_known_high == 1.0


def test_groups_are_resampled_not_clips():
    """The clips of a group are alike here: as single clips they would seem twice as many, and the interval would be narrower."""
    probabilities, labels = rows(*[0.9, 0.5] * 20), [0] * 40
    pairs = scores(probabilities, labels, groups=np.arange(40))
    alike = scores(rows(*np.repeat([0.9, 0.5] * 10, 2)), labels, groups=np.arange(40) // 2)
    assert pairs.coverage == alike.coverage == 0.5
    assert alike.coverage_high - alike.coverage_low > 1.2 * (pairs.coverage_high - pairs.coverage_low)


def test_no_clip_with_a_class_has_no_accuracy():
    found = scores(rows(0.5, 0.5, 0.5, 0.5, 0.5), [0] * 5)
    assert found.coverage == 0 and found.accuracy_when_known is None is found.accuracy_when_known_high


def test_background_clips_are_not_covered_and_wrong_if_they_get_a_class():
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    labels = [0, 2, 0, 0, 2]
    found = scores(probabilities, labels, background="none")
    assert found.coverage == pytest.approx(2 / 3)  # the fourth clip is of a known class, but rather background
    assert found.accuracy_when_known == pytest.approx(2 / 3)
    # Known clips get a class as first, third and (of a tie with a background clip, half each) fourth and fifth.
    curve = accuracy_by_coverage(find_answers(probabilities, 2), np.array(labels), 2)
    np.testing.assert_allclose(curve["coverage"], np.array([1, 1, 2, 2.5, 3]) / 3)
    np.testing.assert_allclose(curve["accuracy"], [1, 1 / 2, 2 / 3, 2.5 / 4, 3 / 5])
    assert found.aurc == pytest.approx(np.average(1 - curve["accuracy"], weights=[1, 0, 1, 0.5, 0.5]))


def test_a_split_of_background_clips_alone_has_no_such_scores():
    assert scores(rows(0.9, 0.9, 0.9, 0.9, 0.9), [2] * 5, background="none") == (None,) * 8


def test_intervals_along_the_curve_are_of_the_accuracy_at_each_threshold():
    answers = Answers(np.zeros(40, int), np.repeat([0.9, 0.6], 20))
    labels = np.r_[np.zeros(20, int), np.arange(20) % 2]
    high, all_clips, none = accuracy_intervals(answers, labels, np.arange(40), np.array([0.8, 0.5, 0.95]), SETTINGS, 1)
    assert high == (1.0, 1.0) and none == (None, None)
    assert all_clips[0] < 0.75 < all_clips[1] < 0.9
