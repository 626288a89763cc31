"""How accurate predictions are if the least confident ones are left unknown (selective classification).

The definitions follow Geifman & El-Yaniv 2017 ("Selective Classification for Deep Neural Networks"). Clips are given a class in
the order of `Answers.scores`, the most confident first. Coverage is the share of the clips of known classes that get a class.
Accuracy is the share of right ones among all clips that are given a class; a background clip among them counts as wrong. Without
a background class these are the usual coverage and 1 - risk.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts import Decision
from pipeline.evaluation.bootstrap import Interval, bootstrap_intervals
from pipeline.evaluation.decision import Answers, find_answers
from pipeline.settings import Evaluate

COVERAGE = 0.9  # at which `accuracy_at_90_coverage` is measured
_TINY = 1e-9


class SelectiveScores(NamedTuple):
    """The fields of `Scores` about unknown predictions, in the same order and meaning."""

    aurc: float | None
    accuracy_at_90_coverage: float | None
    coverage: float | None = None
    coverage_low: float | None = None
    coverage_high: float | None = None
    accuracy_when_known: float | None = None
    accuracy_when_known_low: float | None = None
    accuracy_when_known_high: float | None = None


def is_known(labels: np.ndarray, background: int | None) -> np.ndarray:
    """Whether each clip is of another class than the background; bool (n,)."""
    return np.ones(len(labels), bool) if background is None else labels != background


def accuracy_by_coverage(answers: Answers, labels: np.ndarray, background: int | None = None) -> pd.DataFrame:
    """Coverage and accuracy as more and more clips are given a class.

    Clips of equal confidence are in no order among themselves: each counts as the mean of them.

    Args:
      labels: int array of shape (n_clips,), the actual classes. background: label of the background class.

    Returns:
      DataFrame with a row per clip, the most confident first: score (see `Answers`), known (whether it is of a known class),
      coverage and accuracy once it is given a class; without known clips coverage is NaN.
    """
    known = is_known(labels, background)
    _, same, counts = np.unique(-answers.scores, return_inverse=True, return_counts=True)
    order = np.argsort(same, kind="stable")

    def averaged(values: np.ndarray) -> np.ndarray:
        return (np.bincount(same, values) / counts)[same][order]

    of_known, right = averaged(known), averaged(known & (answers.labels == labels))
    with np.errstate(invalid="ignore"):
        coverage = of_known.cumsum() / known.sum()
    accuracy = right.cumsum() / np.arange(1, len(labels) + 1)
    return pd.DataFrame({"score": answers.scores[order], "known": of_known, "coverage": coverage, "accuracy": accuracy})


def selective_scores(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    classes: list[str],
    decision: Decision | None,
    settings: Evaluate,
    seed: int,
) -> SelectiveScores:
    """The scores of one split about unknown predictions; arguments as of `metrics.score`.

    aurc is the area under the risk-coverage curve, in [0, 1], lower is better: the mean, over the clips of known classes, of the
    risk, 1 - accuracy, once the clip and all more confident ones are given a class. accuracy_at_90_coverage is the accuracy once
    90% of them are.

    Args:
      decision: its threshold gives coverage and accuracy_when_known, with intervals (see `bootstrap_intervals`); without it, or
        where no clip is given a class, they are None.
    """
    background = None if decision is None or decision.background is None else classes.index(decision.background)
    answers = find_answers(probabilities, background)
    known = is_known(labels, background)
    if not known.any():
        return SelectiveScores(None, None)
    curve = accuracy_by_coverage(answers, labels, background)
    enough = int(np.argmax(curve["coverage"] >= COVERAGE - _TINY))
    overall = float(np.average(1 - curve["accuracy"], weights=curve["known"])), float(curve["accuracy"][enough])
    if decision is None:
        return SelectiveScores(*overall)
    given = answers.scores >= decision.threshold
    values = np.column_stack([known, known & given, given, given & known & (answers.labels == labels)])

    def scores(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.column_stack([sums[:, 1] / sums[:, 0], sums[:, 3] / sums[:, 2]])

    point = scores(values.sum(axis=0, dtype=float)[None])[0]
    covered, right = bootstrap_intervals(
        values, groups, scores, resamples=settings.bootstrap, confidence=settings.confidence, seed=seed
    )
    accuracy = (float(point[1]), *right) if given.any() else (None, None, None)
    return SelectiveScores(*overall, float(point[0]), *covered, *accuracy)


def accuracy_intervals(
    answers: Answers,
    labels: np.ndarray,
    groups: np.ndarray,
    thresholds: np.ndarray,
    settings: Evaluate,
    seed: int,
    background: int | None = None,
) -> list[Interval]:
    """The interval of the accuracy at each of the thresholds, by resampling groups; see `bootstrap_intervals`."""
    right = is_known(labels, background) & (answers.labels == labels)
    given = answers.scores[:, None] >= thresholds

    def scores(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, len(thresholds) :] / sums[:, : len(thresholds)]

    values = np.column_stack([given, given & right[:, None]])
    return bootstrap_intervals(values, groups, scores, resamples=settings.bootstrap, confidence=settings.confidence, seed=seed)
