"""What the page says about certainty, and what it must not say."""

import pytest

from pipeline.artifacts import RunRecord, Scores
from pipeline.reporting import page
from pipeline.reporting.tables import Leaks
from pipeline.tracking.environment import environment
from tests.reporting.results import some_params

TEST = dict.fromkeys(Scores.model_fields, 0.5) | {
    "top1": 0.9,
    "top1_low": 0.85,
    "top1_high": 0.94,
    "clips": 400,
    "groups": 60,
}


def _said(confidence: float = 0.95, **values) -> str:
    return " ".join(page.certainty(Scores(**TEST | values), confidence, 2000))


def test_the_interval_is_worded_with_its_confidence():
    assert "We are 95% sure" in _said()
    assert "between 85.0% and 94.0%" in _said()
    assert "the 60 test groups were drawn again 2,000 times" in _said()
    assert "We are 90% sure" in _said(confidence=0.9)
    assert "too narrow" not in _said()


def test_few_groups_and_clips_without_groups_are_pointed_out():
    assert "With 12 groups the interval is probably too narrow" in _said(groups=12)
    assert "Every clip is its own group" in _said(groups=400)


def test_one_group_has_no_interval():
    assert "no interval" in _said(top1_low=None, top1_high=None, groups=1)


def test_a_faultless_test_is_no_certainty():
    """The exact bound: 59 groups without a mistake leave 5% of groups possible at 95% confidence (0.95 ** 59 = 0.0485)."""
    said = _said(top1=1.0, top1_low=1.0, top1_high=1.0, groups=59)
    assert "With 59 groups all right, up to 5.0% of new groups" in said


def test_leaks_are_warned_of():
    assert page.warnings(Leaks([], 60, 0, [])) == []
    leaking, copies = page.warnings(Leaks(["g1", "g2"], 60, 9, [("a", "b")]))
    assert "2 of 60 test groups (9 clips)" in leaking
    assert copies.startswith("1 pair of byte-identical clips")


@pytest.mark.parametrize(
    ("value", "noun", "text"),
    [(1, "clip", "1 clip"), (0, "clip", "0 clips"), (1234, "clip", "1,234 clips"), (2, "class", "2 classes")],
)
def test_counts_are_worded(value, noun, text):
    assert page.count(value, noun) == text


def test_numbers_that_are_missing_are_dashes():
    assert (page.percent(0.1234), page.percent(None), page.percent(float("nan"))) == ("12.3%", "–", "–")


def test_the_configuration_is_whole_but_for_credentials():
    text = page.configuration(some_params())
    assert "learning_rate: " in text and "archive: https://example.org/made.zip" in text
    assert "secret" not in text


def test_the_environment_is_trainings_and_says_where_the_reports_differs():
    trained = environment() | {"processor": "of training", "commit": "abc", "changed": False}
    found = page.made_with(RunRecord(run_id="1", environment=trained))
    assert found.trained["code"] == "commit abc" and found.trained["processor"].startswith("of training, ")
    assert [name for name, *_ in found.differences] == ["code", "processor"]
    assert page.made_with(RunRecord(run_id="1", environment=environment())).differences == []


def test_of_a_training_that_noted_nothing_nothing_is_claimed():
    found = page.made_with(RunRecord(run_id="1"))
    assert found.trained is None and found.report["tensorflow"].startswith("2.")
