"""Cluster-bootstrap confidence intervals, resampling groups.

Clips of one group (one person, one scene) are correlated, so the unit of resampling is the group (Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", chapters 8 and 13; Cameron, Gelbach & Miller 2008, "Bootstrap-Based Improvements for Inference
with Clustered Errors"). Resampling clips would give intervals that are too narrow.

Invariants: a score is a function of sums over clips, so a resample is a vector of group multiplicities, and all resamples are one
matrix product. Groups are drawn without stratification by class. The interval is the percentile interval: it stays within the
range of the score, has no width when all groups score alike, and undercovers with few groups (below about 30).
"""

from collections.abc import Callable

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
