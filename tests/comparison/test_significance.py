"""The tests of significance against values computed by hand."""

import itertools

import numpy as np
import pytest

from pipeline.comparison.significance import holm, mcnemar, randomisation_by_group


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 2**5),
        (1, 7, 2 * (1 + 8) / 2**8),
        (7, 1, 2 * (1 + 8) / 2**8),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_mcnemar_is_the_two_sided_binomial(only_a, only_b, expected):
    assert mcnemar(only_a, only_b) == pytest.approx(expected)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx(
        [0.03, 0.06, 0.06]
    )  # 3 x 0.01, then 2 x 0.03, which 1 x 0.04 may not undercut
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def outcomes(only_a: int, only_b: int, both: int = 4):
    right_a = np.array([True] * only_a + [False] * only_b + [True] * both)
    right_b = np.array([False] * only_a + [True] * only_b + [True] * both)
    return right_a, right_b


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 5), (1, 7), (2, 8), (4, 4)])
def test_of_single_clips_the_test_by_groups_is_mcnemars(only_a, only_b):
    right_a, right_b = outcomes(only_a, only_b)
    groups = np.arange(len(right_a))
    assert randomisation_by_group(right_a, right_b, groups) == pytest.approx(mcnemar(only_a, only_b))


def test_clips_of_one_group_count_as_one():
    """Six clips that only the second has right: 2/64 as single clips, 2/4 as two groups of three, 1 as one group."""
    right_a, right_b = outcomes(0, 6, both=0)
    assert randomisation_by_group(right_a, right_b, np.arange(6)) == pytest.approx(2 / 64)
    assert randomisation_by_group(right_a, right_b, np.array(list("aaabbb"))) == pytest.approx(2 / 4)
    assert randomisation_by_group(right_a, right_b, np.array(list("aaaaaa"))) == 1.0


def test_by_groups_it_is_the_share_of_all_exchanges():
    random = np.random.default_rng(3)
    right_a, right_b = random.random(60) < 0.6, random.random(60) < 0.75
    groups = random.integers(0, 9, 60)
    sums = np.array([int(right_b[groups == g].sum()) - int(right_a[groups == g].sum()) for g in range(9)])
    exchanged = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=9)]
    expected = np.mean(np.array(exchanged) >= abs(sums.sum()))
    assert 0 < expected < 1
    assert randomisation_by_group(right_a, right_b, groups) == pytest.approx(expected)
    assert randomisation_by_group(right_b, right_a, groups) == pytest.approx(expected)
