"""How the page words certainty, leaks and numbers."""

import pytest

from pipeline.artifacts import Baselines, BaselineScores, Gain, Scores
from pipeline.reporting import page, wording
from pipeline.reporting.inputs import Leaks
from tests.reporting.results import some_params

TEST = dict.fromkeys(Scores.model_fields, 0.5) | {
    "top1": 0.9,
    "top1_low": 0.85,
    "top1_high": 0.94,
    "clips": 400,
    "groups": 60,
}


def _described(confidence: float = 0.95, **values) -> str:
    return " ".join(wording.describe_certainty(Scores(**TEST | values), confidence, 2000))


GAIN = {
    "probe_top1": 0.8,
    "probe_log_loss": 0.5,
    "top1": 0.05,
    "top1_low": 0.01,
    "top1_high": 0.1,
    "log_loss": -0.1,
    "log_loss_low": -0.3,
    "log_loss_high": 0.2,
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {},
            [
                "5.0 points higher (+1.0 to +10.0)",
                "log loss 0.100 lower (-0.300 to +0.200)",
                "95% intervals",
                "has made it better",
            ],
        ),
        ({"top1_low": -0.01}, ["the test clips show no difference"]),
        ({"top1": 0.0, "top1_low": 0.0, "top1_high": 0.0, "log_loss_high": -0.01}, ["the same (+0.0 to +0.0)", "made it better"]),
        ({"top1": -0.05, "top1_low": -0.1, "top1_high": -0.02}, ["5.0 points lower", "has made it worse"]),
        ({"log_loss": 0.1, "log_loss_low": 0.05, "log_loss_high": 0.2}, ["one of the two is better and the other worse"]),
        ({"top1_low": None, "top1_high": None, "log_loss_low": None, "log_loss_high": None}, ["a single test group"]),
    ],
)
def test_the_gain_over_the_probe_in_words(values, expected):
    sentence = wording.describe_gain(Gain(**GAIN | values), 0.95)
    assert [part for part in expected if part not in sentence] == []


def _baselines(view: float, still: float, shuffled: float, *ends: tuple[float | None, float | None]) -> Baselines:
    """ends: of the intervals of the gains."""
    (still_ends, shuffled_ends) = ends

    def scores(top1: float, low: float | None = None, high: float | None = None) -> BaselineScores:
        return BaselineScores(top1=top1, top1_low=0, top1_high=1, gain=view - top1, gain_low=low, gain_high=high)

    return Baselines(
        largest_class_name="a",
        largest_class=scores(0.2),
        clips=50,
        groups=20,
        one_view=BaselineScores(top1=view, top1_low=0, top1_high=1),
        one_frame=scores(still, *still_ends),
        shuffled=scores(shuffled, *shuffled_ends),
    )


@pytest.mark.parametrize(
    ("found", "motion", "order"),
    [
        (
            _baselines(0.98, 0.93, 0.97, (0.01, 0.09), (-0.02, 0.04)),
            "still gets 93.0% of 50 clips right, against 98.0% with all 16 frames, a difference of +5.0 points (+1.0 to +9.0): "
            "most of what it uses is appearance, not motion.",
            "97.0% right, a difference of +1.0 points (-2.0 to +4.0): these clips do not show that their order matters.",
        ),
        (_baselines(0.98, 0.4, 0.6, (0.5, 0.7), (0.3, 0.5)), "most of what it uses takes more than one frame.", "order matters."),
        (
            _baselines(0.98, 0.96, 0.98, (-0.02, 0.06), (0, 0)),
            "these clips do not show that it uses motion",
            "on these clips it does not need their order.",
        ),
        (_baselines(0.95, 0.15, 0.2, (0.7, 0.9), (0.7, 0.9)), "no more than the largest class does", "order matters."),
        (_baselines(0.2, 0.1, 0.2, (0.05, 0.2), (0, 0)), "no better than the largest class", "does not need"),
        (_baselines(0.98, 0.93, 0.98, (None, None), (None, None)), "chance is unknown", "right, a difference of +0.0 points."),
    ],
)
def test_what_the_classifier_owes_to_motion_in_words(found, motion, order):
    of_motion, of_order = wording.describe_baselines(found, 16)
    assert motion in of_motion and order in of_order


def test_without_baselines_nothing_is_said():
    found = Baselines(largest_class_name="a", largest_class=BaselineScores(top1=0.2, top1_low=0.1, top1_high=0.3))
    assert wording.describe_baselines(found, 16) == wording.describe_baselines(None, 16) == []


def test_interval_is_described_with_its_confidence():
    assert "With 95% confidence" in _described()
    assert "between 85.0% and 94.0%" in _described()
    assert "2,000 resamples of the 60 test groups" in _described()
    assert "With 90% confidence" in _described(confidence=0.9)
    assert "too narrow" not in _described()


def test_few_groups_and_clips_without_groups_are_mentioned():
    assert "With 12 groups the interval is probably too narrow" in _described(groups=12)
    assert "Every clip is its own group" in _described(groups=400)


def test_one_group_has_no_interval():
    text = _described(top1_low=None, top1_high=None, groups=1)
    assert "no interval" in text and "The interval covers" not in text


def test_perfect_score_bounds_the_share_of_failing_groups():
    """The exact bound: 59 groups without a mistake leave 5% of groups possible at 95% confidence (0.95 ** 59 = 0.0485)."""
    text = _described(top1=1.0, top1_low=1.0, top1_high=1.0, groups=59)
    assert "With 59 groups all right, up to 5.0% of new groups" in text


def test_leaks_are_described():
    assert wording.describe_leaks(Leaks([], 60, 0, [], [])) == []
    leaking, copies, near = wording.describe_leaks(Leaks(["g1", "g2"], 60, 9, [("a", "b")], [("c", "d"), ("e", "f")]))
    assert "2 of 60 test groups (9 clips)" in leaking
    assert copies.startswith("1 pair of clips with the same frames")
    assert near.startswith("2 pairs of near-duplicate clips") and "data.split.duplicates=group" in near


@pytest.mark.parametrize(
    ("value", "noun", "text"),
    [(1, "clip", "1 clip"), (0, "clip", "0 clips"), (1234, "clip", "1,234 clips"), (2, "class", "2 classes")],
)
def test_counts_have_plurals(value, noun, text):
    assert wording.count(value, noun) == text


def test_missing_numbers_are_dashes():
    assert (wording.percent(0.1234), wording.percent(None), wording.percent(float("nan"))) == ("12.3%", "–", "–")


def test_configuration_has_no_credentials():
    text = page.dump_configuration(some_params())
    assert "learning_rate: " in text and "archive: https://example.org/made.zip" in text
    assert "secret" not in text
