"""The cluster bootstrap: exact cases, and its coverage by simulation."""

import itertools

import numpy as np
import pytest

from pipeline.evaluation.bootstrap import bootstrap_intervals, paired_difference, sum_by_group


def _accuracy(sums: np.ndarray) -> np.ndarray:
    return sums[:, 1:2] / sums[:, :1]


def _interval(right: np.ndarray, groups: np.ndarray, **options) -> tuple:
    options = {"resamples": 500, "confidence": 0.95, "seed": 0} | options
    return bootstrap_intervals(np.column_stack([np.ones(len(right)), right]), groups, _accuracy, **options)[0]


def test_sum_by_group_adds_the_clips_of_each_group():
    sums = sum_by_group([[1, 2], [3, 4], [5, 6]], np.array(["b", "a", "b"]))
    assert sums.tolist() == [[3, 4], [6, 8]]


def test_interval_matches_the_exact_distribution_of_three_groups():
    """Three groups have 27 equally likely resamples: with many draws the quantiles must be theirs."""
    right, sizes = np.array([1.0, 2.0, 4.0]), np.array([4.0, 4.0, 4.0])
    scores = [right[list(draw)].sum() / sizes[list(draw)].sum() for draw in itertools.product(range(3), repeat=3)]
    clips = np.concatenate([np.arange(4) < count for count in right])
    low, high = _interval(clips, np.repeat(["a", "b", "c"], 4), resamples=20_000, confidence=0.6)
    assert low == pytest.approx(np.quantile(scores, 0.2))
    assert high == pytest.approx(np.quantile(scores, 0.8))


def test_whole_groups_are_resampled():
    """Two groups, one all right and one all wrong: scores are 0, 1/2 or 1, so the interval is [0, 1]."""
    assert _interval(np.repeat([1, 0], 50), np.repeat(["a", "b"], 50)) == (0, 1)


def test_interval_depends_on_the_seed_and_not_on_the_order_of_clips():
    random = np.random.default_rng(3)
    right, groups = random.integers(0, 1000, 60), np.repeat([f"g{i:02d}" for i in range(12)], 5)
    order = random.permutation(60)
    assert _interval(right, groups) == _interval(right[order], groups[order])
    assert _interval(right, groups) != _interval(right, groups, seed=1)


def test_blocks_do_not_change_the_draws(monkeypatch):
    right, groups = np.random.default_rng(3).random(60) < 0.7, np.repeat(np.arange(12), 5)
    whole = _interval(right, groups)
    monkeypatch.setattr("pipeline.evaluation.bootstrap._BLOCK", 100)
    assert _interval(right, groups) == whole


def test_one_group_has_no_interval():
    assert _interval(np.array([1, 0, 1]), np.array(["a"] * 3)) == (None, None)


def test_undefined_resamples_are_ignored():
    """A score that is undefined where group `a` is not drawn keeps its interval."""
    values, groups = np.array([[1.0], [0.0], [0.0]]), np.array(["a", "b", "c"])

    def statistic(sums: np.ndarray) -> np.ndarray:
        return np.where(sums > 0, 0.5, np.nan)

    (interval,) = bootstrap_intervals(values, groups, statistic, resamples=200, confidence=0.9, seed=0)
    assert interval == (0.5, 0.5)


@pytest.mark.parametrize(("option", "value"), [("confidence", 1.0), ("confidence", 0.0), ("resamples", 0)])
def test_settings_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        _interval(np.array([1, 0]), np.array(["a", "b"]), **{option: value})


def test_groups_must_match_the_values():
    with pytest.raises(ValueError, match="groups"):
        sum_by_group(np.ones((3, 2)), np.array(["a", "b"]))


def test_coverage_on_clustered_data():
    """With correlated clips, resampling groups covers the truth about 95% of the time; resampling clips far less often."""
    random = np.random.default_rng(11)
    trials, groups, clips, truth = 300, 50, 8, 0.7
    covered = {"groups": 0, "clips": 0}
    widths = {"groups": [], "clips": []}
    for trial in range(trials):
        chance = random.beta(truth * 1.5, (1 - truth) * 1.5, groups)  # strongly clustered: intra-group correlation 0.4
        right = (random.random((groups, clips)) < chance[:, None]).ravel()
        for unit, names in (("groups", np.repeat(np.arange(groups), clips)), ("clips", np.arange(groups * clips))):
            low, high = _interval(right, names, resamples=300, seed=trial)
            covered[unit] += low <= truth <= high
            widths[unit].append(high - low)
    # Three standard errors of a share of 300 trials are 0.04; the percentile interval itself undercovers slightly at 50 groups.
    assert 0.90 <= covered["groups"] / trials <= 0.98
    assert covered["clips"] / trials < 0.80
    # The variance of clustered means is larger by 1 + 7 * 0.4 = 3.8, the width by its root.
    assert 1.7 < np.mean(widths["groups"]) / np.mean(widths["clips"]) < 2.2


def _difference(a, b, groups, **options):
    return paired_difference(
        np.array(a), np.array(b), np.array(groups), **{"resamples": 500, "confidence": 0.95, "seed": 0} | options
    )


def test_paired_difference_matches_the_exact_distribution_of_three_groups():
    """Groups of 2, 2 and 4 clips, whose differences sum to 2, 0 and -1: 27 equally likely resamples."""
    a, b = [1, 1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 1, 1, 1, 0, 1]
    groups = ["a", "a", "b", "b", "c", "c", "c", "c"]
    sums, sizes = np.array([2, 0, -1]), np.array([2, 2, 4])
    means = [sums[list(draw)].sum() / sizes[list(draw)].sum() for draw in itertools.product(range(3), repeat=3)]
    value, low, high = _difference(a, b, groups, resamples=20_000, confidence=0.6)
    assert value == pytest.approx(1 / 8)
    assert (low, high) == pytest.approx((np.quantile(means, 0.2), np.quantile(means, 0.8)))
    turned = _difference(b, a, groups, resamples=20_000, confidence=0.6)
    assert turned == pytest.approx((-value, -high, -low))


def test_what_both_share_cancels_out():
    """Each mean varies a lot between groups, and the difference hardly: an unpaired interval would contain 0."""
    random = np.random.default_rng(5)
    groups = np.repeat(np.arange(20), 10)
    hard = random.normal(0, 5, 20)[groups]
    value, low, high = _difference(hard + 0.2 + random.normal(0, 0.1, 200), hard, groups)
    assert 0.15 < low < value < high < 0.25


def test_equal_values_have_a_difference_of_zero_without_width():
    assert _difference([True, False, True], [True, False, True], ["a", "b", "c"]) == (0, 0, 0)


def test_paired_difference_of_one_group_has_no_interval():
    assert _difference([1, 1], [1, 0], ["a", "a"]) == (0.5, None, None)


@pytest.mark.parametrize("b", [[1.0, 0.0], [[1.0], [0.0], [1.0]]])
def test_paired_values_must_be_of_the_same_clips(b):
    with pytest.raises(ValueError, match="same clips"):
        _difference([1.0, 0.0, 1.0], b, ["a", "b", "c"])
