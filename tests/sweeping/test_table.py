"""The order follows from validation alone, the front from accuracy and cost; every text is escaped, every picture is inside."""

import base64

import pandas as pd
import pytest

from pipeline.reporting.figures import png
from pipeline.sweeping.costs import Cost
from pipeline.sweeping.figure import pareto_figure
from pipeline.sweeping.page import render
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.settings import Plan
from pipeline.sweeping.table import comparison, markdown, pareto, shown


def trial(name, number, validation, test, log_loss=0.5, **others):
    scores = {"top1_low": None, "top1_high": None, "macro_f1": validation, "log_loss": log_loss}
    metrics = {"validation": {"top1": validation, **scores}, "test": {"top1": test, **scores}}
    values = {
        "overrides": {"model": name},
        "status": "finished",
        "origin": "computed",
        "metrics": metrics,
        "objective": validation,
    }
    return Trial(name, number, **(values | others))


TRIALS = [
    trial("a0", 0, 0.7, 1.0),
    trial("a1", 1, 0.9, 0.1, log_loss=0.4),
    trial("a2", 2, 0.9, 0.2, log_loss=0.3),
    Trial("a3", 3, {"model": "a3"}, status="failed", error="a | b <script>"),
]
COSTS = {
    "a0": Cost(1_000_000, 10, 1.0, 500.0, 5.0),
    "a1": Cost(2_000_000, 20, 3.0, 500.0, 5.0),
    "a2": Cost(2_000_000, 30, 2.0, 500.0, 5.0),
}


@pytest.fixture
def table():
    return comparison(TRIALS, ["model"], COSTS, "top1")


def test_the_best_on_validation_comes_first_whatever_test_says(table):
    assert list(table["trial"]) == ["a2", "a1", "a0", "a3"]  # a2 and a1 tie; a2 has the lower log loss
    assert list(table["rank"].fillna(-1)) == [1, 2, 3, -1]


def test_an_objective_that_should_be_small_turns_the_order():
    trials = [trial(name, place, 0.5, 0.5, objective=loss) for place, (name, loss) in enumerate({"a0": 0.2, "a1": 0.1}.items())]
    assert list(comparison(trials, ["model"], COSTS, "log_loss")["trial"]) == ["a1", "a0"]


def test_without_costs_the_table_is_made_all_the_same():
    table = comparison(TRIALS, ["model"], {}, "top1")
    assert table["flops"].isna().all() and not table["front"].any()
    assert len(png(pareto_figure(table, ["model"], 0.95))) > 1000


def test_the_front(table):
    assert table.set_index("trial")["front"].to_dict() == {"a2": False, "a1": True, "a0": True, "a3": False}
    score, cost = pd.Series([0.5, 0.5, 0.9, None]), pd.Series([1, 1, 2, 0])
    assert pareto(score, cost) == [True, True, True, False]  # equal ones do not beat each other


def test_what_people_read_names_units_marks_test_and_reasons(table):
    text = markdown(shown(table, ["model"], "top1"))
    assert "test top-1 *" in text and "GFLOPs a clip" in text
    assert "failed: a \\| b <script>" in text
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines()}) == 1
    small = shown(
        comparison([trial("x", 0, 0.5, 0.5, overrides={"lr": "0.00068240784270983"})], ["lr"], {}, "top1"), ["lr"], "top1"
    )
    assert small["lr"][0] == "0.0006824"


def test_the_page_is_self_contained_and_escaped(table):
    picture = png(pareto_figure(table, ["model"], 0.95))
    assert picture.startswith(b"\x89PNG")
    plan = Plan("family", "top1", {}, ["model"], 4, {})
    page = render(
        plan=plan,
        table=shown(table, ["model"], "top1"),
        best=TRIALS[2],
        champion=None,
        notes=["note"],
        picture=base64.b64encode(picture).decode(),
        command="python",
    )
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "dvc exp apply a2" in page and "http" not in page


def test_records_are_of_this_start_and_one_a_trial(tmp_path):
    records = Records(tmp_path)
    records.clear_jobs()
    for one in TRIALS:
        records.write(one)
    records.write(trial("a0", 4, 0.7, 1.0))  # the same trial once more, as a sampler may propose it
    assert [one.name for one in records.trials()] == ["a0", "a1", "a2", "a3"]
    assert records.jobs_done() == 5
    records.clear_jobs()
    assert records.trials() == [] and records.find("a1").metrics == TRIALS[1].metrics
