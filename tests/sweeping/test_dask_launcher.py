"""Hydra's Dask launcher: jobs in separate processes, results in order, failures isolated; and a whole sweep through it."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from pipeline.sweeping import dask_launcher
from pipeline.sweeping.plan import SWEEP_VARIABLE
from tests.dask_cluster import dask_cluster
from tests.pipeline_runs import SMALL, clips, weights  # noqa: F401
from tests.sweeping.command import SweepCommand, run_in, sweep_repository  # noqa: F401
from tests.sweeping.dask_tasks import ROOT, notes, sweep

OF_A_WORKER = {"DVC_ROOT": "/nowhere"}  # a job's repository is the sweep's, whatever its worker has
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dask_launcher")]


@pytest.fixture(scope="module")
def address():
    with dask_cluster(ROOT, **OF_A_WORKER) as found:
        from distributed import Client

        with Client(found, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield found


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """The variables that a sweep sets for its launcher."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv(SWEEP_VARIABLE, "this sweep")


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_results_come_in_order_from_separate_processes(tmp_path, address):
    """The first job takes longer than all others: they go to the other worker."""
    returns = sweep(tmp_path / "jobs", f"hydra.launcher.address={address}", "seed=1,2,3,4")
    assert [one.return_value for one in returns] == [0.5, 1.0, 1.5, 2.0]
    assert [one.cfg.seed for one in returns] == [1, 2, 3, 4]
    ran = [notes(tmp_path / "jobs", seed)[0] for seed in (1, 2, 3, 4)]
    assert [one["number"] for one in ran] == [0, 1, 2, 3]
    assert len({one["process"] for one in ran}) == 4
    assert len({one["worker"] for one in ran}) == 2
    assert sum(one["worker"] == ran[0]["worker"] for one in ran) <= 2
    for one in ran:
        assert one["main_thread"]
        assert one["folder"] == str(ROOT)
        assert set(one["variables"]) == {SWEEP_VARIABLE, "DVC_ROOT"}
        for name, value in one["variables"].items():
            assert value == os.environ[name]


def test_the_sampler_receives_each_trials_objective(tmp_path, address):
    optuna = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=3"]
    sweep(tmp_path / "jobs", f"hydra.launcher.address={address}", *optuna, "seed=1,2,3")
    found = yaml.safe_load((tmp_path / "jobs/optimization_results.yaml").read_text())
    assert (found["best_params"], found["best_value"]) == ({"seed": 1}, 0.5)


def test_without_an_address_a_cluster_is_started(tmp_path, capfd):
    returns = sweep(tmp_path / "jobs", "hydra.launcher.n_jobs=1", "seed=6,8")
    assert [one.return_value for one in returns] == [3.0, 4.0]
    assert "1 workers, 1 threads on the Dask cluster on this machine" in capfd.readouterr().err


def launched(folder, *overrides):
    """All jobs' returns, also of those that failed: Hydra's sweeper raises for these."""
    kept, launch = [], dask_launcher.launch

    def keeping(*arguments):
        kept.extend(launch(*arguments))
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_launcher, "launch", keeping)
        sweep(folder, *overrides)
    return kept


def test_a_job_that_fails_or_dies_takes_no_other_with_it(tmp_path, address, capfd):
    returns = launched(tmp_path / "jobs", f"hydra.launcher.address={address}", "seed=101,102,5")
    with pytest.raises(ValueError, match="broken here"):
        _ = returns[0].return_value
    with pytest.raises(Exception, match=r"^trial #1: its process on \S+ ended with status -9$"):
        _ = returns[1].return_value
    assert returns[2].return_value == 2.5


def test_a_lost_workers_job_runs_again(tmp_path, address):
    (only,) = launched(tmp_path / "jobs", f"hydra.launcher.address={address}", "seed=100")
    assert only.return_value == 50.0
    first, again = notes(tmp_path / "jobs", 100)
    assert first["worker"] != again["worker"]
    until(lambda: not psutil.pid_exists(first["process"]))


def test_jobs_of_a_killed_sweep_end_and_the_workers_stay(tmp_path, address):
    """Dask alone finds out: the jobs do not watch the process of the sweep here."""
    folder = tmp_path / "jobs"
    command = [sys.executable, "-m", "tests.sweeping.dask_tasks", str(folder), f"hydra.launcher.address={address}", "seed=103"]
    process = subprocess.Popen(command, cwd=ROOT)
    until(lambda: notes(folder, 103), 60)
    (job,) = notes(folder, 103)
    assert psutil.pid_exists(job["process"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not psutil.pid_exists(job["process"]))
    assert psutil.pid_exists(job["worker"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs = 0: must be 1 or more"),
        (["hydra.launcher.address=tcp://x:1", "cluster=dask", "cluster.address=tcp://x:1"], "decoding would then wait forever"),
        (["hydra.launcher.address=nonsense://x"], "no Dask scheduler answers there"),
    ],
)
def test_a_cluster_that_cannot_be_used_ends_in_one_line(tmp_path, capfd, overrides, reason):
    with pytest.raises(SystemExit):
        sweep(tmp_path / "jobs", *overrides, "seed=1,2")
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: ")
    assert reason in line


def test_a_killed_sweep_resumes(sweep_repository, clips, weights):  # noqa: F811
    """Two trials with features of their own, which share the stages before embed; SIGKILL as one trains, and the same again."""
    small = [override for override in SMALL if not override.startswith(("finetune", "embed.views"))]
    settings = ("embed.views=2,3", "finetune=probe", "tracking.system_metrics=false", "export.formats=[]")
    with dask_cluster(sweep_repository, **OF_A_WORKER) as found:
        jobs = ("hydra/launcher=dask", f"hydra.launcher.address={found}")
        given = (*small, f"data.folder={clips}", f"model.weights={weights}", *settings, *jobs)
        trials = SweepCommand(sweep_repository, "views", "embed.views", *given)
        process = trials.start()
        deadline = time.monotonic() + 900
        while "finetune" not in [record["stage"] for record in trials.records().values()]:
            assert process.poll() is None, process.stderr.read()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        process = trials.start()
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors[-3000:]
    assert "2 workers, 2 threads on tcp://" in errors
    assert {views: record["status"] for views, record in trials.records().items()} == {"2": "finished", "3": "finished"}
    logs = trials.log("2") + trials.log("3")
    for stage in ("download", "extract"):
        assert logs.count(f"Running stage '{stage}'") == 1
    assert run_in(sweep_repository, "git", "status", "--porcelain").splitlines() == [" M README.md"]
