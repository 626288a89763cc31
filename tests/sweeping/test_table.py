"""The order follows from validation alone, the front from accuracy and cost; the page is self-contained and escaped."""

import base64
import html
from contextlib import ExitStack

import pandas as pd
import pytest

from pipeline.artifacts import Metrics, Scores
from pipeline.params import parse_params
from pipeline.reporting.style import png
from pipeline.sweeping import results
from pipeline.sweeping.costs import Cost
from pipeline.sweeping.figure import pareto_figure
from pipeline.sweeping.plan import Plan
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.start import OpenSweep
from pipeline.sweeping.table import compare, format_table, pareto
from tests.test_params import composed


def scores(top1: float, log_loss: float) -> Scores:
    intervals = {f"{name}_{end}": None for name in ("top1", "top5", "macro_f1") for end in ("low", "high")}
    return Scores(top1=top1, top5=1.0, macro_f1=top1, log_loss=log_loss, ece=0.1, clips=10, groups=1, **intervals)


def trial(name, job, validation, test, log_loss=0.5, **others):
    metrics = Metrics(validation=scores(validation, log_loss), test=scores(test, log_loss))
    values = {"overrides": {"model": name}, "status": "finished", "origin": "computed", "objective": validation}
    return Trial(name=name, jobs=[job], metrics=metrics, **(values | others))


COMMAND = "python -m commands.sweep sweep=head 'finetune.dropout=interval(0, 0.5)' hydra.sweeper.n_trials=4"
TRIALS = [
    trial("a0", 0, 0.7, 1.0),
    trial("a1", 1, 0.9, 0.1, log_loss=0.4),
    trial("a2", 2, 0.9, 0.2, log_loss=0.3),
    Trial(name="a3", jobs=[3], overrides={"model": "a3"}, status="failed", error="a | b <script>"),
]
COSTS = {
    "a0": Cost(1_000_000, 10, 1.0, 500.0, 5.0),
    "a1": Cost(2_000_000, 20, 3.0, 500.0, 5.0),
    "a2": Cost(2_000_000, 30, 2.0, 500.0, 5.0),
}


@pytest.fixture
def table():
    return compare(TRIALS, ["model"], COSTS, "top1")


def test_the_order_follows_validation_not_test(table):
    assert list(table["trial"]) == ["a2", "a1", "a0", "a3"]  # a2 and a1 tie; a2 has the lower log loss
    assert list(table["rank"].fillna(-1)) == [1, 2, 3, -1]


def test_an_objective_to_minimise_reverses_the_order():
    trials = [trial(name, job, 0.5, 0.5, objective=loss) for job, (name, loss) in enumerate({"a0": 0.2, "a1": 0.1}.items())]
    assert list(compare(trials, ["model"], COSTS, "log_loss")["trial"]) == ["a1", "a0"]


def test_a_table_without_costs():
    table = compare(TRIALS, ["model"], {}, "top1")
    assert table["flops"].isna().all() and not table["front"].any()
    assert len(png(pareto_figure(table, ["model"], 0.95))) > 1000


def test_the_front(table):
    assert table.set_index("trial")["front"].to_dict() == {"a2": False, "a1": True, "a0": True, "a3": False}
    score, cost = pd.Series([0.5, 0.5, 0.9, None]), pd.Series([1, 1, 2, 0])
    assert pareto(score, cost) == [True, True, True, False]  # equal ones do not beat each other


def test_the_table_for_people_has_units_marks_test_and_gives_reasons(table):
    shown = format_table(table, ["model"], "top1")
    assert {"test top-1 *", "GFLOPs a clip"} <= set(shown)
    assert list(shown["trial ended"]) == ["computed", "computed", "computed", "failed: a | b <script>"]
    assert list(shown["validation top-1"]) == ["90.0%", "90.0%", "70.0%", "–"]
    small = compare([trial("x", 0, 0.5, 0.5, overrides={"lr": "0.00068240784270983"})], ["lr"], {}, "top1")
    assert format_table(small, ["lr"], "top1")["lr"][0] == "0.0006824"
    swept = ["finetune.epochs", "embed.views", "evaluate.views"]
    several = compare([trial("x", 0, 0.5, 0.5, overrides=dict.fromkeys(swept, "1"))], swept, {}, "top1")
    assert {"epochs", "embed.views", "evaluate.views"} <= set(format_table(several, swept, "top1"))


def test_a_trial_that_fails_now_has_no_scores_of_an_earlier_start():
    failed = trial("a0", 0, 0.7, 1.0).model_copy(update={"status": "failed", "error": "no"})
    table = compare([failed], ["model"], COSTS, "top1")
    assert table["validation_top1"].isna().all() and table["rank"].isna().all() and not table["front"].any()


def test_the_page_is_self_contained_and_escaped(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan("family", "top1", {"model": "a0,a1"}, ["model"], 4, {})
    sweep = OpenSweep(plan, parse_params(composed()), "run", Records(tmp_path, "process"), COMMAND, ExitStack())
    folder = results.write_results(sweep, table, format_table(table, ["model"], "top1"), TRIALS[2], None)
    page = (folder / "index.html").read_text()
    assert base64.b64encode((folder / "pareto.png").read_bytes()).decode() in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "dvc exp apply a2" in page and "http" not in page
    assert f"<code>{html.escape(COMMAND, quote=False).replace(chr(39), '&#39;')}</code>" in page
    assert list(pd.read_csv(folder / "table.csv")["trial"]) == ["a2", "a1", "a0", "a3"]


def test_records_are_of_one_start_and_one_a_trial(tmp_path):
    records = Records(tmp_path, "process")
    for name, job in (("x-a0", 0), ("x-a1", 1), ("x-a0", 2)):  # a sampler may propose a trial twice
        one = records.begin(name, {"model": name}, job)
        records.write(one.model_copy(update={"status": "finished", "metrics": TRIALS[0].metrics}))
    assert [(one.name, one.jobs) for one in records.trials()] == [("x-a0", [0, 2]), ("x-a1", [1])]
    again = Records(tmp_path, "another")
    assert again.trials() == []
    one = again.begin("x-a1", {"model": "x-a1"}, 5)
    assert (one.jobs, one.status, one.metrics) == ([5], "running", TRIALS[0].metrics)
