"""For the tests that track: a repository with an MLflow database in it, stages that track, processes that share it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from pipeline.params import parse_params
from pipeline.tracking import begin_run, configure, stage_run
from pipeline.tracking.store import DEFAULTS

REPOSITORY = Path(__file__).parent.parent
RUN_FILE, RESULT_FILE = Path("models/run.json"), Path("results/run.json")


@pytest.fixture(scope="module")
def composed():
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base=None):
        return OmegaConf.to_container(compose("config", overrides=["tracking.system_metrics=false"]), resolve=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A repository of its own, which is also the current directory; nothing tracked outside it."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in DEFAULTS.items():  # so that what `configure` sets is undone afterwards
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    splits = ("train", "train", "validation", "test")
    rows = [
        (f"{c}/{c}_{i}.avi", c, k, f"{c}_{i}", s, "zip", 1, f"{k}{i}") for k, c in enumerate("ab") for i, s in enumerate(splits)
    ]
    columns = ["clip", "class", "label", "group", "split", "source", "bytes", "sha256"]
    pd.DataFrame(rows, columns=columns).to_csv("data/manifest.csv", index=False)
    return tmp_path


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """Creating MLflow's tables takes seconds; the tests of all processes copy these."""
    base = tmp_path_factory.getbasetemp()
    path = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "empty/mlflow.db"
    with FileLock(path.parent.with_suffix(".lock")), pytest.MonkeyPatch.context() as patch:
        if path.exists():
            return path
        path.parent.mkdir(exist_ok=True)
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("DVC_ROOT", str(path.parent))
        configure()
    return path


@pytest.fixture
def store(place, empty_database):
    shutil.copy(empty_database, place / "mlflow.db")
    return place


def run_python(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def params(composed):
    return parse_params(composed)


def history(epochs):
    columns = {"loss": 0.5, "accuracy": 0.75, "validation_loss": float("nan"), "validation_accuracy": 0.5, "learning_rate": 0.1}
    return pd.DataFrame([{"epoch": epoch, **columns} for epoch in range(1, epochs + 1)])


def finetune(params, epochs=3):
    with begin_run(params, RUN_FILE) as run:
        run.log_history(history(epochs))
    return run


def evaluate(params, top1=0.5):
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE) as run:
        run.log_metrics({"test": {"top1": top1, "top5": None}, "validation": {"top1": 0.25}})
    return run


def stored(run):
    return run.client.get_run(run.run_id)
