"""The comparison itself: scores of each model, and differences of pairs on the clips that they share.

Invariants: the first model is the baseline, and the others are compared with it; all pairs on request. A difference is of the
second model less the first. "Better" is said only where the interval of the difference excludes 0 and the test by groups,
corrected for the number of pairs (Holm), is significant too: where few groups differ, the interval alone is too narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from pipeline.comparison.results import ModelResults
from pipeline.comparison.shared import SharedClips, share_clips
from pipeline.comparison.significance import holm, mcnemar, randomisation_by_group
from pipeline.evaluation.bootstrap import Difference, bootstrap_intervals, paired_difference
from pipeline.evaluation.metrics import calibration_bins, expected_calibration_error, per_class_scores

Verdict = Literal["better", "worse", "undecided", "alike"]
BINS = 15  # of the calibration error, as in Guo et al. 2017


class Resampling(NamedTuple):
    """How intervals are made; see `bootstrap.bootstrap_intervals`."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 1


class Score(NamedTuple):
    """A mean over clips, and the ends of its interval, which are None with fewer than two groups."""

    value: float
    low: float | None
    high: float | None


class ModelScores(NamedTuple):
    accuracy: Score
    log_loss: Score
    macro_f1: float
    ece: float


class ClassChange(NamedTuple):
    """Recall of a class. difference: of the second model less the first, with an interval over the class's own groups."""

    class_name: str
    clips: int
    first: float
    second: float
    difference: Difference


@dataclass(frozen=True)
class Pair:
    """Two models on the shared clips; `first` and `second` are their numbers.

    Attributes:
      both, only_first, only_second, neither: number of clips that these have right.
      accuracy, log_loss: second less first.
      by_group: p-value of the randomisation test by groups. mcnemar: of McNemar's. With `_holm`, corrected for all pairs.
      gained, lost: indices of the clips that only the second, only the first has right; those whose actual class changes most in
        probability come first.
      classes: those whose recall differs, the largest difference first.
    """

    first: int
    second: int
    both: int
    only_first: int
    only_second: int
    neither: int
    accuracy: Difference
    log_loss: Difference
    by_group: float
    by_group_holm: float
    mcnemar: float
    mcnemar_holm: float
    gained: np.ndarray
    lost: np.ndarray
    classes: list[ClassChange]
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what came out; `all_pairs`: not only pairs with the first model."""

    models: list[ModelResults]
    shared: SharedClips
    scores: list[ModelScores]
    pairs: list[Pair]
    resampling: Resampling
    all_pairs: bool


def compare_models(models: Sequence[ModelResults], split: str, resampling: Resampling, *, all_pairs: bool = False) -> Comparison:
    """Compares two or more models on the clips of a split; raises UserError where their test sets do not fit together."""
    shared = share_clips(models, split)
    scores = [_scores(shared, number, resampling) for number in range(len(models))]
    numbers = range(len(models))
    chosen = [(a, b) for a in numbers for b in numbers if a < b and (all_pairs or a == 0)]
    right = shared.right
    by_group = [randomisation_by_group(right[a], right[b], shared.groups) for a, b in chosen]
    by_clip = [mcnemar(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in chosen]
    pairs = [
        _pair(shared, a, b, p_values, resampling)
        for (a, b), *p_values in zip(chosen, by_group, holm(by_group), by_clip, holm(by_clip), strict=True)
    ]
    return Comparison(list(models), shared, scores, pairs, resampling, all_pairs)


def _scores(shared: SharedClips, number: int, resampling: Resampling) -> ModelScores:
    right, losses = shared.right[number], shared.losses[number]
    accuracy, log_loss = bootstrap_intervals(
        np.column_stack([np.ones(len(right)), right, losses]),
        shared.groups,
        lambda sums: sums[:, 1:] / sums[:, :1],
        **resampling._asdict(),
    )
    classes = per_class_scores(shared.labels, shared.predicted[number], shared.classes)
    return ModelScores(
        Score(float(right.mean()), *accuracy),
        Score(float(losses.mean()), *log_loss),
        float(classes.loc[classes["clips"] > 0, "f1"].mean()),
        expected_calibration_error(calibration_bins(shared.probabilities[number], shared.labels, BINS)),
    )


def _pair(shared: SharedClips, a: int, b: int, p_values: Sequence[float], resampling: Resampling) -> Pair:
    right_a, right_b = shared.right[[a, b]]
    losses = shared.losses
    accuracy = paired_difference(right_b, right_a, shared.groups, **resampling._asdict())
    by_group, by_group_holm, by_clip, by_clip_holm = p_values
    own = np.arange(len(shared)), shared.labels
    change = shared.probabilities[b][own] - shared.probabilities[a][own]

    def ordered(chosen: np.ndarray) -> np.ndarray:
        indices = np.flatnonzero(chosen)
        return indices[np.lexsort((indices, -np.abs(change[indices])))]

    return Pair(
        first=a,
        second=b,
        both=int((right_a & right_b).sum()),
        only_first=int((right_a & ~right_b).sum()),
        only_second=int((right_b & ~right_a).sum()),
        neither=int((~right_a & ~right_b).sum()),
        accuracy=accuracy,
        log_loss=paired_difference(losses[b], losses[a], shared.groups, **resampling._asdict()),
        by_group=by_group,
        by_group_holm=by_group_holm,
        mcnemar=by_clip,
        mcnemar_holm=by_clip_holm,
        gained=ordered(right_b & ~right_a),
        lost=ordered(right_a & ~right_b),
        classes=_class_changes(shared, right_a, right_b, resampling),
        verdict=_verdict(right_a, right_b, accuracy, by_group_holm, resampling.confidence),
    )


def _class_changes(shared: SharedClips, right_a: np.ndarray, right_b: np.ndarray, resampling: Resampling) -> list[ClassChange]:
    changes = []
    for label, name in enumerate(shared.classes):
        of_class = shared.labels == label
        if (right_a[of_class] == right_b[of_class]).all():
            continue
        a, b = right_a[of_class], right_b[of_class]
        difference = paired_difference(b, a, shared.groups[of_class], **resampling._asdict())
        changes.append(ClassChange(name, int(of_class.sum()), float(a.mean()), float(b.mean()), difference))
    return sorted(changes, key=lambda change: -abs(change.difference.value))


def _verdict(right_a: np.ndarray, right_b: np.ndarray, accuracy: Difference, p_value: float, confidence: float) -> Verdict:
    if (right_a == right_b).all():
        return "alike"
    if accuracy.low is None or accuracy.low <= 0 <= accuracy.high or p_value >= 1 - confidence:
        return "undecided"
    return "better" if accuracy.value > 0 else "worse"
