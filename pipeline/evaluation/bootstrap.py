"""Cluster-bootstrap confidence intervals, resampling groups.

Clips of one group (one person, one scene) are correlated, so the unit of resampling is the group (Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", chapters 8 and 13; Cameron, Gelbach & Miller 2008, "Bootstrap-Based Improvements for Inference
with Clustered Errors"). Resampling clips would give intervals that are too narrow.

Invariants: a score is a function of sums over clips, so a resample is a vector of group multiplicities, and all resamples are one
matrix product. Groups are drawn without stratification by class. The interval is the percentile interval: it stays within the
range of the score, has no width when all groups score alike, and undercovers with few groups (below about 30).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Interval = tuple[float | None, float | None]

# Multiplicities in memory at once, about 32 MB. The block size does not change the draws.
_BLOCK = 4_000_000


def sum_by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums over the clips of each group.

    Args:
      values: array of shape (n_clips, n_sums).
      groups: array of shape (n_clips,).

    Returns:
      float64 array of shape (n_groups, n_sums), groups in sorted order.

    Raises:
      ValueError: the shapes do not match.
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    if values.ndim != 2 or groups.shape != values.shape[:1]:
        raise ValueError(f"expected values (N, K) and groups (N,), got {values.shape} and {groups.shape}")
    names, inverse = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, inverse, values)
    return sums


def bootstrap_intervals(
    values: np.ndarray,
    groups: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[Interval]:
    """Percentile intervals of scores, by resampling whole groups with replacement.

    Args:
      values: array of shape (n_clips, n_sums), what each clip adds to each sum.
      groups: array of shape (n_clips,), the group of each clip.
      statistic: vectorised function from sums, float64 of shape (n_resamples, n_sums), to scores, float of shape (n_resamples,
        n_scores). NaN where a score is undefined; such resamples are left out of that score's interval.
      resamples: number of bootstrap resamples.
      confidence: level of the intervals, in (0, 1).
      seed: equal seeds and inputs give equal intervals.

    Returns:
      (low, high) of each score; (None, None) for all with fewer than two groups, as the variance between groups is then unknown,
      and for a score that no resample defines.

    Raises:
      ValueError: the shapes do not match, or a setting is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    sums = sum_by_group(values, groups)
    count = len(sums)
    if count < 2:
        return [(None, None)] * statistic(sums.sum(0, keepdims=True)).shape[1]
    generator = np.random.default_rng(seed)
    even = np.full(count, 1 / count)
    block = max(1, _BLOCK // count)
    scores = np.concatenate(
        [
            statistic(generator.multinomial(count, even, size=min(block, resamples - start)).astype(np.float64) @ sums)
            for start in range(0, resamples, block)
        ]
    )
    tail = (1 - confidence) / 2
    intervals: list[Interval] = []
    for column in scores.T:
        defined = column[np.isfinite(column)]
        if defined.size == 0:
            intervals.append((None, None))
        else:
            low, high = np.quantile(defined, [tail, 1 - tail])
            intervals.append((float(low), float(high)))
    return intervals


class Difference(NamedTuple):
    """A difference of two means over the same clips, and the ends of its interval, which are None with fewer than two groups."""

    value: float
    low: float | None
    high: float | None


def paired_difference(
    values_a: np.ndarray, values_b: np.ndarray, groups: np.ndarray, *, resamples: int, confidence: float, seed: int
) -> Difference:
    """The mean of `values_a` less that of `values_b`, with a percentile interval by resampling whole groups.

    Both are of the same clips, so a resample has the same clips on both sides: what makes a clip hard for both cancels out, and
    the interval is narrower than one of two independent means would be. An interval without 0 says that the two differ.

    Args:
      values_a, values_b: float or bool arrays of shape (n_clips,), for instance whether each clip is right, or its log loss.
      groups: array of shape (n_clips,), the group of each clip.
      resamples, confidence, seed: see `bootstrap_intervals`.

    Raises:
      ValueError: no clips, the shapes do not match, or a setting is out of range.
    """
    values_a, values_b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    if values_a.ndim != 1 or not len(values_a) or values_b.shape != values_a.shape:
        raise ValueError(f"expected the values of the same clips, (N,), got {values_a.shape} and {values_b.shape}")
    values = np.column_stack([np.ones(len(values_a)), values_a - values_b])
    ((low, high),) = bootstrap_intervals(
        values, groups, lambda sums: sums[:, 1:] / sums[:, :1], resamples=resamples, confidence=confidence, seed=seed
    )
    return Difference(float(values[:, 1].mean()), low, high)
