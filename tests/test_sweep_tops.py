"""A whole sweep of heads on one backbone, in a sub-folder of a repository: a failing trial, SIGKILL, the same command again."""

import json
import re
import signal
import sys
import time

import pandas as pd
import psutil
import pytest

from tests.pipeline_runs import SMALL, clips, weights  # noqa: F401
from tests.sweeping.command import SweepCommand, run_in, sweep_repository  # noqa: F401

SUB_FOLDER = "video/model"
KEY, VALUES = "finetune.learning_rate", "0.002,0.02,0.01,20"  # the schema allows none above 10
OTHERS = ("finetune=head", "finetune.epochs=2", "tracking.system_metrics=false", "sweep.objective=log_loss")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sweep_tops")]


@pytest.fixture(scope="module")
def finished(sweep_repository, clips, weights):
    """Killed as the second trial trains, and run again to its end."""
    small = [override for override in SMALL if not override.startswith("finetune")]
    given = (f"data.folder={clips}", f"model.weights={weights}", f"{KEY}={VALUES}", *OTHERS)
    sweep = SweepCommand(sweep_repository, "rates", KEY, *small, *given)
    process = sweep.start()
    deadline = time.monotonic() + 900
    while sweep.records().get("0.02", {}).get("stage") != "training":
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    sweep.before = sweep.records()
    process = sweep.start()
    sweep.page, sweep.errors = process.communicate(timeout=900)
    assert process.returncode == 0, sweep.errors[-3000:]
    return sweep


@pytest.fixture(scope="module")
def tracked(finished):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished.folder}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "folder"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "sweep.key" in run.data.tags]
    children = {run.data.params[KEY]: run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1  # one run a trial
    return client, parent, children


def test_the_table_has_every_trial_best_first(finished):
    table = pd.read_csv(finished.folder / "results/sweeps/rates/table.csv")
    assert list(table["status"]) == ["finished"] * 3 + ["failed"]
    assert table["objective"].iloc[:3].is_monotonic_increasing
    assert "learning_rate = 20" in table["error"].iloc[3]
    for column in ("parameters", "flops", "latency_ms", "peak_mib", "step_ms"):
        assert (table[column].iloc[:3] > 0).all()
    assert "1 of 4 trials failed" in finished.errors


def test_nothing_ran_twice(finished):
    """The stages that the trials share ran once, and the trial that had ended before the kill did not train again."""
    (log,) = finished.folder.glob("logs/sweeps/rates/features-*.log")
    text = log.read_text()
    assert [text.count(f"Running stage '{stage}'") for stage in ("download", "extract", "embed", "finetune")] == [1, 1, 1, 0]
    before, after = finished.before["0.002"], finished.records()["0.002"]
    assert before["status"] == "finished" and finished.before["0.02"]["status"] == "running"
    assert before["seconds"] == after["seconds"] and before["metrics"]["validation"] == after["metrics"]["validation"]


def test_only_the_best_is_an_experiment(finished):
    records = finished.records()
    best = pd.read_csv(finished.folder / "results/sweeps/rates/table.csv")["trial"].iloc[0]
    assert [record["name"] for record in records.values() if record["commit"]] == [best]
    listed = run_in(finished.folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    assert [name.rsplit("/", 1)[-1] for name in listed if "rates" in name] == [best]


def test_trials_are_nested_under_one_run_with_curves_and_predictions(finished, tracked):
    client, parent, children = tracked
    assert parent.info.status == "FINISHED" and set(children) == {"0.002", "0.02", "0.01"}
    for run in children.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["objective"] == run.data.metrics["validation/log_loss"]
        assert run.data.metrics["cost/flops"] > 0
        assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2]
        assert "predictions.csv" in [item.path for item in client.list_artifacts(run.info.run_id)]
    assert (parent.data.metrics["trials/finished"], parent.data.metrics["trials/failed"]) == (3, 1)
    version = client.get_model_version_by_alias("folder-a0_stream", "champion")
    assert version.run_id == parent.data.tags["best.run_id"]


def test_the_same_command_again_finds_everything(finished, tracked):
    client, parent, children = tracked
    before, records = (finished.folder / "results/sweeps/rates/table.csv").read_text(), finished.records()
    process = finished.start()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert (finished.folder / "results/sweeps/rates/table.csv").read_text() == before
    assert [record["seconds"] for record in finished.records().values()] == [record["seconds"] for record in records.values()]
    assert len(client.search_runs([parent.info.experiment_id])) == 1 + len(children)


def test_the_working_copy_is_unchanged_and_nothing_still_runs(finished):
    assert run_in(finished.folder, "git", "status", "--porcelain").splitlines() == [f" M {SUB_FOLDER}/README.md"]
    assert run_in(finished.folder, "git", "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert not [path for path in finished.folder.glob("logs/sweeps/rates/*") if path.is_dir()]
    ours = [process for process in psutil.process_iter(["cwd"]) if str(process.info["cwd"]).startswith(str(finished.folder))]
    assert not [process for process in ours if re.search("stages|pipeline", " ".join(process.cmdline()))]


def test_the_best_can_be_applied(finished, tracked):
    _, parent, _ = tracked
    run_in(finished.folder, sys.executable, "-m", "dvc", "exp", "apply", parent.data.tags["best.trial"])
    metrics = json.loads((finished.folder / "results/metrics.json").read_text())
    assert metrics["validation"]["log_loss"] == pytest.approx(parent.data.metrics["best/objective"])
