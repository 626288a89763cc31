"""Tests of whether two models differ on the same clips, and their correction for several comparisons.

Exact McNemar's test (McNemar 1947; Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised Classification
Learning Algorithms") is what papers report. It takes clips for independent, which clips of one group are not. The sign-flip
randomisation test by groups (Fisher 1935; Winkler et al. 2014, "Permutation inference for the general linear model", whole-block
exchangeability) takes only groups for independent; where every clip is a group of its own, it is McNemar's exact test.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.bootstrap import sum_by_group


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided exact p-value of McNemar's test.

    Args:
      only_a, only_b: number of clips that only one of the two models has right.
    """
    from scipy.stats import binomtest

    differing = only_a + only_b
    return 1.0 if differing == 0 else float(binomtest(only_a, differing, 0.5).pvalue)


def randomisation_by_group(right_a: np.ndarray, right_b: np.ndarray, groups: np.ndarray) -> float:
    """How often accuracies would differ at least as much if, group by group, chance had decided which model is which.

    Two-sided and exact: the distribution over all 2^n exchanges of the two models' results, without sampling.

    Args:
      right_a, right_b: bool arrays of shape (n_clips,). groups: array of shape (n_clips,).
    """
    differences = sum_by_group((np.asarray(right_b, int) - np.asarray(right_a, int))[:, None], groups)[:, 0].astype(int)
    sizes = np.abs(differences[differences != 0])
    positive = np.zeros(sizes.sum() + 1)  # probability of each sum of the differences that come out in favour of the second
    positive[0] = 1.0
    for size in sizes:
        halved = positive / 2
        positive = halved.copy()
        positive[size:] += halved[:-size]
    outcomes = 2 * np.arange(len(positive)) - sizes.sum()
    return float(min(1.0, positive[np.abs(outcomes) >= abs(differences.sum())].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979), in the order given: the chance of any false finding among them stays below each."""
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted
