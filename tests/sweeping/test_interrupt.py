# ruff: noqa: F811 (fixtures are imported by name)
"""SIGTERM, like Ctrl-C, ends a sweep whose trials run in joblib's processes, and all of its runs, at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.tracking.store import open_client
from tests.tracking_store import REPOSITORY, composed, empty_database, place, store  # noqa: F401

# The command with an application of two trials that wait, in the place of Hydra's.
SWEEP = """
import time
from contextlib import ExitStack
from pathlib import Path

import joblib

from commands import sweep
from pipeline.console import run_command
from pipeline.params import load_params
from pipeline.processes import identity
from pipeline.sweeping import start
from pipeline.sweeping.records import Records
from pipeline.tracking.sweeps import open_sweep, trial_run

def trial(parent, name):
    with trial_run(parent, name, load_params(), Path("data/manifest.csv")):
        Path(name).touch()
        time.sleep(300)

def application():
    params = load_params()
    run = open_sweep(params, "rates", "key", {}, {})
    start.opened = start.OpenSweep(None, params, run.run_id, Records(Path("logs"), identity()), "", ExitStack())
    joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(trial)(run.run_id, name) for name in ("one", "other"))

sweep.hydra.main = lambda **options: lambda run_trial: application
run_command(sweep.main)
"""


@pytest.mark.slow
def test_the_runs_of_an_interrupted_sweep_are_killed(store, composed):
    """Of a signal to the sweep's process alone: joblib then ends the trials' processes, which cannot mark their runs."""
    Path("params.yaml").write_text(yaml.safe_dump(composed))
    options = {"env": os.environ | {"PYTHONPATH": str(REPOSITORY)}, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", SWEEP], start_new_session=True, **options)
    deadline = time.monotonic() + 300
    while not (Path("one").exists() and Path("other").exists()):
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors[-3000:]
    client = open_client()
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert {run.info.run_name: run.info.status for run in runs} == dict.fromkeys(("rates", "one", "other"), "KILLED")
