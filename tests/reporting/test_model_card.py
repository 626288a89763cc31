"""The model card: it says what the report's inputs say, and shows names as they are."""

import pytest
import yaml

from pipeline.artifacts import Metrics
from pipeline.reporting.inputs import read_inputs
from pipeline.reporting.markdown import escape
from pipeline.reporting.model_card import model_card
from tests.reporting.results import some_params, write_results

CLASSES = ["jump", "turn <b>*left*</b>", "walk|run"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[str, Metrics]:
    data, results = write_results(tmp_path_factory.mktemp("card"), CLASSES, leak=True, skipped=2, damaged=3, skill=2.5)
    params = some_params()
    report = read_inputs(data, results, params.evaluate, params.report)
    return model_card(report, params), report.metrics


def test_its_header_is_read_by_hubs(made):
    text, _ = made
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["pipeline_tag"] == "video-classification" and "a0" in header["tags"]


def test_it_has_scores_with_intervals_and_what_makes_them_too_good(made):
    text, metrics = made
    low, high = metrics.test.top1_low, metrics.test.top1_high
    assert f"| top-1 | {metrics.test.top1:.1%} | {low:.1%} – {high:.1%} |" in text
    assert "With 95% confidence" in text
    assert "**Do not trust this score for new scenes" in text


def test_names_are_shown_as_they_are_and_do_not_break_tables(made):
    text, _ = made
    assert "walk\\|run" in text and "\\<b\\>\\*left\\*" in text
    assert escape("a_b\nc") == "a\\_b c"


def test_limits_name_the_classes_the_threshold_and_damage(made):
    text, metrics = made
    limits = text.split("## Limits")[1].split("## How to run it")[0]
    assert "no others: jump, " in limits
    assert f"below {metrics.decision.threshold:.4f}" in limits
    assert "3 clips were damaged" in limits and "2 could not be used" in limits


def test_credentials_are_left_out(made):
    text, _ = made
    assert "secret" not in text


def test_a_run_without_validation_says_that_nothing_was_chosen(tmp_path):
    data, results = write_results(tmp_path, CLASSES[:2], validation=False)
    params = some_params()
    report = read_inputs(data, results, params.evaluate, params.report)
    text = model_card(report, params)
    assert "finetune.trainable = full, last epoch" in text and "| validation | 0 clips of 0 groups" in text
