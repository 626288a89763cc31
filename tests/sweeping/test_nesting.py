# ruff: noqa: F811 (fixtures are imported by name)
"""A sweep is one run however often it is started; each trial has one run under it, computed there or restored."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.artifacts import MANIFEST, Baselines, BaselineScores, Metrics
from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.tracking import begin_run, stage_run
from pipeline.tracking.provenance import PARENT_VARIABLE
from pipeline.tracking.store import open_client
from pipeline.tracking.sweeps import end_sweep, nest_trial, open_sweep, set_champion, trial_run
from tests.sweeping.test_table import scores
from tests.tracking_store import composed, empty_database, place, store  # noqa: F401

RUN_FILE, RESULT_FILE = Path("models/run.json"), Path("results/run.json")
METRICS = Metrics(test=scores(0.5, 1.0), validation=scores(0.75, 0.5))


@pytest.fixture
def params(composed):
    return parse_params(composed)


def trained(params):
    with begin_run(params, RUN_FILE) as run:
        run.log_history(pd.DataFrame([{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]))
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE) as run:
        run.log_metrics(METRICS.model_dump())
    return run.run_id


def nest(sweep, computed, params, metrics=METRICS):
    return nest_trial(sweep.run_id, "trial", computed, params, metrics, {"model": "a0"}, 0.75)


def children(sweep):
    experiment = sweep.client.get_run(sweep.run_id).info.experiment_id
    return sweep.client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{sweep.run_id}'")


def test_the_same_sweep_continues_the_same_run(params, store):
    one = open_sweep(params, "lr", "key", {"sweep.name": "lr"}, {"sweep.model": "a0,a1"})
    end_sweep(one.run_id, "KILLED")
    again = open_sweep(params, "lr", "key", {"sweep.name": "lr"}, {"sweep.model": "a0,a1"})
    other = open_sweep(params, "lr", "other", {}, {})
    assert again.run_id == one.run_id != other.run_id
    stored = again.client.get_run(one.run_id)
    assert (stored.info.status, stored.info.run_name, stored.data.params) == ("RUNNING", "lr", {"sweep.model": "a0,a1"})


def test_a_trial_computed_under_the_sweep_is_its_own_run(params, store, monkeypatch):
    sweep = open_sweep(params, "lr", "key", {}, {})
    monkeypatch.setenv(PARENT_VARIABLE, sweep.run_id)
    computed = trained(params)
    for _ in range(2):  # a sweep started again nests again
        assert nest(sweep, computed, params) == (computed, "computed")
    (child,) = children(sweep)
    assert child.data.metrics["objective"] == 0.75
    assert child.data.params["model"] == "a0" and child.data.params["model.id"] == params.model.id


def test_a_restored_trial_has_one_run_with_its_parameters_and_scores(params, store):
    computed = trained(params)
    sweep = open_sweep(params, "lr", "key", {}, {})
    run_id, origin = nest(sweep, computed, params)
    assert nest(sweep, computed, params) == (run_id, "restored")
    assert origin == "restored" and run_id != computed
    (child,) = children(sweep)
    assert child.info.status == "FINISHED" and child.info.run_name == "trial"
    assert child.data.tags["sweep.restored_from"] == computed
    assert child.data.params.items() >= open_client().get_run(computed).data.params.items()
    assert child.data.metrics["validation/top1"] == 0.75 == child.data.metrics["objective"]
    assert "mlflow.parentRunId" not in open_client().get_run(computed).data.tags


def test_a_restored_run_that_was_cut_off_is_made_again(params, store):
    computed = trained(params)
    sweep = open_sweep(params, "lr", "key", {}, {})
    half, _ = nest(sweep, computed, params)
    sweep.client.update_run(half, status="RUNNING")
    complete, _ = nest(sweep, computed, params)
    assert [child.info.run_id for child in children(sweep)] == [complete] != [half]


def test_a_run_on_another_store_is_restored_from_the_results(params, store):
    sweep = open_sweep(params, "lr", "key", {}, {})
    largest = BaselineScores(top1=0.25, top1_low=None, top1_high=None)
    baselines = Baselines(largest_class_name="a", largest_class=largest)
    run_id, origin = nest(sweep, "0" * 32, params, METRICS.model_copy(update={"baselines": baselines}))
    stored = sweep.client.get_run(run_id).data
    assert origin == "restored" and stored.metrics["test/top1"] == 0.5
    others = {name: value for name, value in stored.metrics.items() if not name.startswith(("test/", "validation/"))}
    assert others == {
        "accuracy/test_top1": 0.5,
        "accuracy/validation_top1": 0.75,
        "baseline/largest_class": 0.25,
        "objective": 0.75,
    }
    assert stored.params["finetune.learning_rate"] == str(params.finetune.learning_rate)


def test_an_unfinished_run_of_another_sweep_moves_to_the_one_that_finishes_it(params, store, monkeypatch, tmp_path):
    old, new = (open_sweep(params, "lr", key, {}, {}) for key in ("old", "new"))
    note = tmp_path / "note.json"
    monkeypatch.setenv(PARENT_VARIABLE, old.run_id)
    with pytest.raises(KeyboardInterrupt), begin_run(params, RUN_FILE, note=note):
        raise KeyboardInterrupt
    (run,) = children(old)
    monkeypatch.setenv(PARENT_VARIABLE, new.run_id)
    with begin_run(params, RUN_FILE, note=note):
        pass
    assert [child.info.run_id for child in children(new)] == [run.info.run_id]
    assert children(old) == []


def test_the_champion_is_the_version_that_the_run_registered(params, store):
    client = open_client()
    runs = [trained(params), trained(params)]
    client.create_registered_model("sample-a0")
    for run in runs:
        client.create_model_version("sample-a0", source=f"runs:/{run}/classifier", run_id=run)
    assert client.get_registered_model("sample-a0").aliases == {}
    for number, run in enumerate(runs, 1):
        assert set_champion(run) == f"sample-a0 version {number}"
        assert client.get_registered_model("sample-a0").aliases == {"champion": number}
    assert set_champion("0" * 32) is None


def train_here(sweep, params, error=None):
    with trial_run(sweep.run_id, "trial", params, MANIFEST) as run:
        run.log_metrics(METRICS.model_dump())
        if error is not None:
            raise error
    return run.run_id


def test_a_trial_of_this_process_has_parameters_data_and_scores_and_is_nested_once(params, store):
    sweep = open_sweep(params, "lr", "key", {}, {})
    computed = train_here(sweep, params)
    assert nest(sweep, computed, params) == (computed, "computed")
    (child,) = children(sweep)
    assert (child.info.status, child.info.run_name) == ("FINISHED", "trial")
    assert child.data.metrics["test/top1"] == 0.5 and child.data.metrics["objective"] == 0.75
    assert child.data.params["finetune.learning_rate"] == str(params.finetune.learning_rate)
    assert {one.dataset.name for one in child.inputs.dataset_inputs} == {params.data.name}


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (UserError("no"), "FAILED")])
def test_a_trial_that_did_not_end_has_its_status_and_is_replaced(params, store, error, status):
    sweep = open_sweep(params, "lr", "key", {}, {})
    with pytest.raises(type(error)):
        train_here(sweep, params, error)
    (child,) = children(sweep)
    assert child.info.status == status and child.data.tags["error"].startswith("trial: ")
    again = train_here(sweep, params)
    assert [one.info.run_id for one in children(sweep)] == [again]


def test_an_ended_sweep_leaves_no_trial_running(params, store, monkeypatch):
    sweep = open_sweep(params, "lr", "key", {}, {})
    monkeypatch.setenv(PARENT_VARIABLE, sweep.run_id)
    done = train_here(sweep, params)
    lost = train_here(sweep, params)
    sweep.client.update_run(lost, status="RUNNING")  # its process was killed
    end_sweep(sweep.run_id, "KILLED")
    assert {one.info.run_id: one.info.status for one in children(sweep)} == {done: "FINISHED", lost: "KILLED"}
