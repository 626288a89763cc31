"""The comparison against values computed by hand: 24 clips of 8 groups of 3."""

import math

import numpy as np
import pytest

from pipeline.comparison.compare import Resampling, compare_models
from pipeline.evaluation.bootstrap import bootstrap_intervals
from pipeline.evaluation.metrics import per_class_scores, top_k_hits
from tests.comparison.models import CLASSES, NAMES, SURE, UNSURE, clip, make_model

FAST = Resampling(resamples=400)
FIRST_CLIPS = [clip(name, group, 1) for name in CLASSES for group in range(1, 5)]  # one of each group


@pytest.fixture
def compare(tmp_path):
    def compare(*wrong, all_pairs=False, **options):
        models = [make_model(tmp_path / f"m{number}", clips, **options) for number, clips in enumerate(wrong)]
        return compare_models(models, "test", FAST, all_pairs=all_pairs)

    return compare


def test_scores_of_each_model(compare):
    comparison = compare([clip("dance", 1, 1), clip("dance", 1, 2)], [])
    first, second = comparison.scores
    assert first.accuracy.value == pytest.approx(22 / 24) and second.accuracy == (1, 1, 1)
    assert first.log_loss.value == pytest.approx(-(22 * math.log(SURE) + 2 * math.log(UNSURE)) / 24)
    dance, jump = 2 * 10 / (12 + 10), 2 * 12 / (12 + 14)  # F1: 2 x right of actual and predicted
    assert first.macro_f1 == pytest.approx((dance + jump) / 2)
    assert second.ece == pytest.approx(1 - SURE)
    assert first.accuracy.low < 22 / 24 < first.accuracy.high
    assert first.log_loss.low < first.log_loss.value < first.log_loss.high


def test_a_difference_is_of_the_second_less_the_first(compare):
    lost, gained = [clip("dance", 1, 1)], [clip("jump", 1, 1), clip("jump", 2, 1), clip("jump", 2, 2)]
    (pair,) = compare(gained, lost).pairs
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == (20, 1, 3, 0)
    assert pair.accuracy.value == pytest.approx(2 / 24)
    assert pair.log_loss.value == pytest.approx(2 / 24 * (math.log(UNSURE) - math.log(SURE)))
    assert pair.mcnemar == pytest.approx(2 * (1 + 4) / 2**4)
    assert pair.by_group == pytest.approx(6 / 8)  # of 1, 1 and 2 in three groups: only for 2 of 8 signs is the sum 0
    assert pair.verdict == "undecided"
    clips = np.array(sorted(NAMES))
    assert set(clips[pair.gained]) == set(gained) and set(clips[pair.lost]) == set(lost)


def test_better_and_worse_need_both_the_interval_and_the_test_by_groups(compare):
    (pair,) = compare(FIRST_CLIPS, []).pairs
    assert pair.accuracy == (8 / 24, 8 / 24, 8 / 24)  # every group differs alike
    assert pair.by_group == pytest.approx(2 / 2**8) and pair.verdict == "better"
    (pair,) = compare([], FIRST_CLIPS).pairs
    assert pair.accuracy.value == -8 / 24 and pair.verdict == "worse"


def test_few_groups_that_differ_decide_nothing(compare):
    """Four of eight groups: the interval excludes 0, but four coins fall alike in 1 of 8 cases."""
    (pair,) = compare(FIRST_CLIPS[:4], []).pairs
    assert pair.accuracy.low > 0
    assert pair.by_group == pytest.approx(2 / 2**4) and pair.verdict == "undecided"


def test_clips_of_one_group_convince_mcnemar_alone(compare):
    group = [clip("dance", group, number) for group in (1, 2) for number in (1, 2, 3)]
    (pair,) = compare(group, []).pairs
    assert pair.mcnemar == pytest.approx(2 / 2**6) and pair.by_group == pytest.approx(2 / 2**2)
    assert pair.verdict == "undecided"


def test_the_same_clips_right_are_alike(compare):
    (pair,) = compare([clip("dance", 1, 1)], [clip("dance", 1, 1)]).pairs
    assert pair.verdict == "alike" and pair.classes == [] and len(pair.gained) == len(pair.lost) == 0
    assert (pair.mcnemar, pair.by_group) == (1, 1)


def test_one_group_has_no_interval_and_no_verdict(compare):
    comparison = compare(FIRST_CLIPS, [], groups=dict.fromkeys(NAMES, "all"))
    assert comparison.scores[0].accuracy == (16 / 24, None, None)
    assert comparison.pairs[0].accuracy == (8 / 24, None, None) and comparison.pairs[0].verdict == "undecided"


def test_each_model_is_compared_with_the_first_or_every_pair_on_request(compare):
    wrong = (FIRST_CLIPS, FIRST_CLIPS[:1], [])
    pairs = compare(*wrong).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2)]
    assert [pair.by_group for pair in pairs] == pytest.approx([2 / 2**7, 2 / 2**8])
    assert [pair.by_group_holm for pair in pairs] == pytest.approx([2 / 2**7, 4 / 2**8])
    pairs = compare(*wrong, all_pairs=True).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.by_group_holm for pair in pairs] == pytest.approx([2 * 2 / 2**7, 3 * 2 / 2**8, 1.0])
    assert [pair.mcnemar_holm for pair in pairs] == pytest.approx([2 * 2 / 2**7, 3 * 2 / 2**8, 1.0])


def test_the_verdict_is_corrected_for_the_number_of_pairs(compare):
    """p = 2/2^6 = 0.031 of one pair; of two such, 0.0625 each."""
    single = compare(FIRST_CLIPS[:6], []).pairs[0]
    assert single.by_group == single.by_group_holm == pytest.approx(0.03125) and single.verdict == "better"
    for pair in compare(FIRST_CLIPS[:6], [], []).pairs:
        assert pair.by_group_holm == pytest.approx(0.0625) and pair.verdict == "undecided"


def test_classes_that_gain_and_lose(compare):
    first = [clip("jump", 1, 1)]
    second = [clip("dance", 1, 1), clip("dance", 2, 1), clip("dance", 3, 2)]
    (pair,) = compare(first, second).pairs
    assert [(change.class_name, change.clips) for change in pair.classes] == [("dance", 12), ("jump", 12)]
    dance, jump = pair.classes
    assert (dance.first, dance.second) == (1, 9 / 12) and dance.difference.value == pytest.approx(-3 / 12)
    assert (jump.first, jump.second) == (11 / 12, 1) and jump.difference.value == pytest.approx(1 / 12)
    assert dance.difference.low < -3 / 12 < dance.difference.high <= 0


def test_intervals_are_those_of_the_report(tmp_path):
    """With the same settings, the interval of an accuracy is that of evaluate, which resamples the same sums."""
    models = [make_model(tmp_path / "a", FIRST_CLIPS[:3]), make_model(tmp_path / "b")]
    comparison = compare_models(models, "test", Resampling(resamples=300, confidence=0.9, seed=7))
    shared = comparison.shared
    hits = top_k_hits(shared.probabilities[0], shared.labels, 1)
    values = np.column_stack([np.ones(len(hits)), hits])
    options = {"resamples": 300, "confidence": 0.9, "seed": 7}
    ((low, high),) = bootstrap_intervals(values, shared.groups, lambda sums: sums[:, 1:] / sums[:, :1], **options)
    assert comparison.scores[0].accuracy[1:] == (low, high)
    f1 = per_class_scores(shared.labels, shared.predicted[0], shared.classes)["f1"].mean()
    assert comparison.scores[0].macro_f1 == pytest.approx(f1)


def test_flips_come_by_their_change_in_probability(tmp_path):
    """The model that is surer of the actual class moves it more."""
    first, second = make_model(tmp_path / "a", FIRST_CLIPS[:3]), make_model(tmp_path / "b")
    rows = {name: number for number, name in enumerate(second.predictions.clips)}
    for name, sure in zip(FIRST_CLIPS[:3], (0.6, 0.9, 0.7), strict=True):
        row, label = rows[name], second.predictions.labels[rows[name]]
        second.predictions.probabilities[row] = 1 - sure
        second.predictions.probabilities[row, label] = sure
    pair = compare_models([first, second], "test", FAST).pairs[0]
    assert [sorted(NAMES)[index] for index in pair.gained] == [FIRST_CLIPS[1], FIRST_CLIPS[2], FIRST_CLIPS[0]]
