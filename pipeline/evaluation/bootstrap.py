"""How far a score could have come out otherwise, had other groups been filmed.

Clips of one group (one person, one scene) succeed and fail together, so the unit that is resampled is the group: the cluster
bootstrap (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13; Cameron, Gelbach & Miller 2008,
"Bootstrap-Based Improvements for Inference with Clustered Errors"). Resampling clips would give intervals that are too narrow.

Invariants: a score is a function of sums over clips, so a resample is a vector of group multiplicities, and all resamples
are one matrix product. Groups are drawn without regard to class (no stratification). The interval is the percentile interval:
it never leaves the range of the score, has no width when every group scores alike, and with few groups (below about 30)
it holds the truth less often than it claims.
"""

from collections.abc import Callable

import numpy as np

Interval = tuple[float | None, float | None]

# Multiplicities held at once; bounds the memory at about 32 MB, does not change the draws.
_BLOCK = 4_000_000


def group_sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums `values` (N, K) over the clips of each group: float64 (G, K), groups in sorted order."""
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    if values.ndim != 2 or groups.shape != values.shape[:1]:
        raise ValueError(f"expected values (N, K) and groups (N,), got {values.shape} and {groups.shape}")
    names, inverse = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, inverse, values)
    return sums


def cluster_intervals(
    values: np.ndarray,
    groups: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> list[Interval]:
    """Percentile intervals of S scores, by resampling whole groups with replacement.

    Args:
      values: (N, K), what each clip adds to each of K sums.
      groups: (N,), the group of each clip.
      statistic: makes S scores of K sums, for many rows at once: float64 (B, K) -> float (B, S). It may return NaN for a
        resample in which a score is undefined; such resamples are left out of that score's interval.
      resamples: how many times the groups are drawn.
      confidence: of the intervals, in (0, 1).
      seed: the same seed and inputs give the same intervals.

    Returns:
      (low, high) for each of the S scores; (None, None) for all with fewer than two groups, as one group says nothing
      about how groups differ.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    sums = group_sums(values, groups)
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
