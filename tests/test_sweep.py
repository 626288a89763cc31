"""A whole sweep of trials that share no backbone: two jobs at once, a failing trial, SIGKILL, the same command again."""

import base64
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

KEY, VALUES = "embed.views", "2,3,0"  # trials with features of their own; the schema allows no 0 views
JOBS = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
OTHERS = ("finetune=probe", "tracking.system_metrics=false", "sweep.objective=log_loss")


@pytest.fixture(scope="module")
def finished(sweep_repository, clips, weights):
    """Killed as the first trial trains, and run again to its end."""
    small = [override for override in SMALL if not override.startswith(("finetune", KEY))]
    given = (f"data.folder={clips}", f"model.weights={weights}", f"{KEY}={VALUES}", *OTHERS, *JOBS)
    sweep = SweepCommand(sweep_repository, "views", KEY, *small, *given)
    process = sweep.start()
    deadline = time.monotonic() + 900
    while "finetune" not in [record["stage"] for record in sweep.records().values()]:
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # not before its launcher's processes are gone too
    sweep.before = sweep.records()
    process = sweep.start()
    sweep.page, sweep.errors = process.communicate(timeout=900)
    assert process.returncode == 0, sweep.errors[-3000:]
    return sweep


pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sweep")]


@pytest.fixture(scope="module")
def tracked(finished):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished.folder}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "folder"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "sweep.key" in run.data.tags]
    children = {run.data.params["embed.views"]: run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1  # one run a trial
    return client, parent, children


def test_the_table_has_every_trial_best_first(finished):
    table = pd.read_csv(finished.folder / "results/sweeps/views/table.csv")
    assert list(table["status"]) == ["finished", "finished", "failed"]
    assert table["objective"].iloc[0] <= table["objective"].iloc[1]
    assert "embed.views = 0" in table["error"].iloc[2]
    for column in ("parameters", "flops", "latency_ms", "peak_mib", "step_ms"):
        assert (table[column].iloc[:2] > 0).all()
    assert "dvc exp apply " + table["trial"].iloc[0] in finished.errors
    assert "1 of 3 trials failed" in finished.errors


def test_the_page_is_self_contained(finished):
    folder = finished.folder / "results/sweeps/views"
    assert finished.page.strip() == "results/sweeps/views/index.html"
    page = (folder / "index.html").read_text()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture) == (folder / "pareto.png").read_bytes()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_nothing_ran_twice(finished):
    """Each stage that two trials share ran once, and each trial trained once to its end."""
    logs = finished.log("2") + finished.log("3")
    for stage in ("download", "extract"):
        assert logs.count(f"Running stage '{stage}'") == 1
    for views in ("2", "3"):
        assert len(re.findall("best of .* penalties", finished.log(views))) == 1


def test_trials_are_nested_under_one_run_that_survived_the_kill(finished, tracked):
    client, parent, children = tracked
    assert parent.info.status == "FINISHED"
    assert set(children) == {"2", "3"}
    for run in children.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["objective"] == run.data.metrics["validation/log_loss"]
        assert run.data.metrics["cost/flops"] > 0
    table = pd.read_csv(finished.folder / "results/sweeps/views/table.csv")
    assert parent.data.tags["best.trial"] == table["trial"].iloc[0]
    assert parent.data.metrics["best/objective"] == pytest.approx(table["objective"].iloc[0])
    assert (parent.data.metrics["trials/finished"], parent.data.metrics["trials/failed"]) == (2, 1)
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "sweep")} >= {"sweep/index.html", "sweep/table.csv"}


def test_the_best_is_champion(finished, tracked):
    client, parent, _ = tracked
    version = client.get_model_version_by_alias("folder-a0_stream", "champion")
    assert version.run_id == parent.data.tags["best.run_id"]


def test_the_same_command_again_finds_everything(finished, tracked):
    """The same command after the end: no experiment runs, no run is made, the table is the same."""
    client, parent, children = tracked
    before = (finished.folder / "results/sweeps/views/table.csv").read_text()
    logs = [finished.log(views) for views in ("2", "3")]
    process = finished.start()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert (finished.folder / "results/sweeps/views/table.csv").read_text() == before
    assert logs == [finished.log(views) for views in ("2", "3")]
    assert len(client.search_runs([parent.info.experiment_id])) == 1 + len(children)


def test_the_working_copy_is_unchanged_and_nothing_still_runs(finished):
    assert run_in(finished.folder, "git", "status", "--porcelain").splitlines() == [" M README.md"]
    assert run_in(finished.folder, "git", "symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert not list(finished.folder.glob(".dvc/tmp/exps/standalone/tmp*"))
    ours = [process for process in psutil.process_iter(["cwd"]) if str(process.info["cwd"]).startswith(str(finished.folder))]
    assert not [process for process in ours if re.search("stages|pipeline", " ".join(process.cmdline()))]


def test_the_best_can_be_applied(finished, tracked):
    _, parent, _ = tracked
    run_in(finished.folder, sys.executable, "-m", "dvc", "exp", "apply", parent.data.tags["best.trial"])
    description = json.loads((finished.folder / "models/classifier/classifier.json").read_text())
    assert description["classes"] == ["Bright", "Dark"]
    assert (finished.folder / "models/classifier/saved_model/saved_model.pb").stat().st_size > 0
    metrics = json.loads((finished.folder / "results/metrics.json").read_text())
    assert metrics["validation"]["log_loss"] == pytest.approx(parent.data.metrics["best/objective"])
