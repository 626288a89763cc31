"""A whole sweep in its own repository: two jobs at once, a failing trial, SIGKILL in the middle, the same command again."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.pipeline_runs import SMALL, clips, weights  # noqa: F401

ROOT = Path(__file__).parent.parent
VARIED = "finetune.learning_rate=0.002,0.02,20"  # the schema allows none above 10
JOBS = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
OTHERS = (
    "finetune=head",
    "finetune.epochs=2",
    "tracking.system_metrics=false",
    "sweep.name=rates",
    "sweep.objective=log_loss",
)


def environment():
    dropped = ("MLFLOW", "DVC", "MOVINET", "GIT_", "PYTHONPATH", "HYDRA")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run_in(folder, *command):
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The files of this tree that git has or would have, committed in a new folder."""
    folder = tmp_path_factory.mktemp("sweep") / "repository"
    listed = run_in(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run_in(folder, "git", "init", "-q", "-b", "main")
    run_in(folder, "git", "config", "user.name", "Test")
    run_in(folder, "git", "config", "user.email", "test@example.org")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-q", "-m", "all")
    return folder


class Sweep:
    def __init__(self, folder, *overrides):
        self.folder, self.overrides = folder, overrides

    def start(self):
        command = [sys.executable, "-m", "commands.sweep", *self.overrides]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def records(self):
        found = [json.loads(path.read_text()) for path in sorted(self.folder.glob("logs/sweeps/rates/rates-*.json"))]
        return {record["overrides"]["finetune.learning_rate"]: record for record in found}

    def log(self, rate):
        (path,) = self.folder.glob(f"logs/sweeps/rates/rates-{rate.replace('.', '_')}-*.log")
        return path.read_text()


@pytest.fixture(scope="module")
def finished(repository, clips, weights):
    """Killed as the first trial trains, and run again to its end."""
    small = [override for override in SMALL if not override.startswith("finetune")]
    sweep = Sweep(repository, *small, f"data.folder={clips}", f"model.weights={weights}", VARIED, *OTHERS, *JOBS)
    (repository / "README.md").write_text("a change that is not committed\n")
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
    children = {run.data.params["finetune.learning_rate"]: run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1  # one run a trial
    return client, parent, children


def test_the_table_has_every_trial_best_first(finished):
    table = pd.read_csv(finished.folder / "results/sweeps/rates/table.csv")
    assert list(table["status"]) == ["finished", "finished", "failed"]
    assert table["objective"].iloc[0] <= table["objective"].iloc[1]
    assert "learning_rate = 20" in table["error"].iloc[2]
    for column in ("parameters", "flops", "latency_ms", "peak_mib", "step_ms"):
        assert (table[column].iloc[:2] > 0).all()
    assert "dvc exp apply " + table["trial"].iloc[0] in finished.errors
    assert "1 of 3 trials failed" in finished.errors


def test_the_page_is_self_contained(finished):
    folder = finished.folder / "results/sweeps/rates"
    assert finished.page.strip() == "results/sweeps/rates/index.html"
    page = (folder / "index.html").read_text()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture) == (folder / "pareto.png").read_bytes()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_nothing_ran_twice(finished):
    """Each stage that two trials share ran once, and a training that was killed resumed."""
    logs = finished.log("0.002") + finished.log("0.02")
    for stage in ("download", "extract", "embed"):
        assert logs.count(f"Running stage '{stage}'") == 1
    for rate in ("0.002", "0.02"):
        assert finished.log(rate).count("best of 2 epochs") == 1


def test_trials_are_nested_under_one_run_that_survived_the_kill(finished, tracked):
    client, parent, children = tracked
    assert parent.info.status == "FINISHED"
    assert set(children) == {"0.002", "0.02"}
    for run in children.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["objective"] == run.data.metrics["validation/log_loss"]
        assert run.data.metrics["cost/flops"] > 0
    table = pd.read_csv(finished.folder / "results/sweeps/rates/table.csv")
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
    before = (finished.folder / "results/sweeps/rates/table.csv").read_text()
    logs = [finished.log(rate) for rate in ("0.002", "0.02")]
    process = finished.start()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    assert (finished.folder / "results/sweeps/rates/table.csv").read_text() == before
    assert logs == [finished.log(rate) for rate in ("0.002", "0.02")]
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
