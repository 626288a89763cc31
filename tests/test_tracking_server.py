"""A team's set-up for real: an MLflow server on PostgreSQL with proxied artifacts, and clients that know only its address."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.checks.tracking import check_tracking
from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.tracking import begin_run, configure, log_classifier, stage_run
from pipeline.tracking.store import open_client
from tests import postgres
from tests.servers import free_port, wait_for
from tests.test_registered_model import DESCRIPTION, expected, frames, saved_model  # noqa: F401
from tests.tracking_store import composed, history, place, run_python  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tracking_server")]

RUN_FILE, RESULT_FILE = Path("models/run.json"), Path("results/run.json")
USER, PASSWORD = "anna", "a-secret-of-hers"


@pytest.fixture(scope="module")
def database():
    with postgres.running() as host:
        yield host


class Server:
    """An MLflow server as docs/mlflow-server.md starts it. `uri`: its address; `folder`: its artifacts and log."""

    def __init__(self, folder: Path, database: str):
        self.folder, self.database, self.port = folder, database, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        store = postgres.create_database(database, "mlflow")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_"))}
        environment = kept | {"MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        with open(folder / "log", "w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"), database)
    try:
        wait_for(f"{running.uri}/health", running.process, running.folder / "log")
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=60)


@pytest.fixture
def client(place, server, monkeypatch):
    """A colleague's repository, in which only MLFLOW_TRACKING_URI is set, with a name and a password in it."""
    uri = server.uri.replace("http://", f"http://{USER}:{PASSWORD}@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return place


def leaks(text: str) -> list[str]:
    return [line for line in text.splitlines() if PASSWORD in line or postgres.PASSWORD in line]


def all_text(folder: Path) -> str:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return "\n".join(f"{path}: {path.read_bytes().decode('latin-1')}" for path in files)


def test_a_pipeline_execution_is_kept_by_the_server(composed, client, server, saved_model, tmp_path, capfd):
    """Run, history, artifacts, model, evaluation and report, then read back by a process that knows nothing but the address."""
    assert check_tracking().status == "ok"
    params = parse_params(composed)
    with begin_run(params, RUN_FILE) as run:
        run.log_history(history(3))
        logged = log_classifier(run, saved_model, DESCRIPTION, params)
    with stage_run(params, "evaluate", RUN_FILE, RESULT_FILE) as run:
        run.log_metrics({"test": {"top1": 0.75}})
    with stage_run(params, "report", RESULT_FILE) as run:
        Path("report").mkdir()
        Path("report/index.html").write_text("<p>the page</p>")
        Path("report/table.csv").write_text("a,b\n")
        run.log_artifacts(Path("report"), "report")
    assert (logged.name, logged.version) == ("sample-a0", "1")
    other = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
    with pytest.raises(ValueError), stage_run(other, "evaluate", RUN_FILE):  # on a run of its own
        raise ValueError("recorded with its traceback")

    np.save(tmp_path / "frames.npy", frames())
    code = f"""
import json, sys
import mlflow, numpy as np
client = mlflow.MlflowClient()
run = client.get_run(sys.argv[1])
losses = client.get_metric_history(run.info.run_id, "train/loss")
page = mlflow.artifacts.load_text(f"runs:/{{run.info.run_id}}/report/index.html")
model = mlflow.pyfunc.load_model("models:/sample-a0@latest")
assert not [name for name in sys.modules if name.startswith(("stages", "pipeline"))]
print(json.dumps({{
    "status": run.info.status, "metrics": run.data.metrics, "params": run.data.params,
    "steps": [point.step for point in losses], "page": page, "inputs": len(run.inputs.dataset_inputs),
    "artifacts": run.info.artifact_uri, "answer": model.predict(np.load({str(tmp_path / "frames.npy")!r})).values.tolist(),
}}))
"""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "PYTHONPATH"))}
    environment = kept | {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"], "TF_NUM_INTRAOP_THREADS": "1"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-c", code, run.run_id]
    done = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "FINISHED" and found["metrics"]["test/top1"] == 0.75
    assert found["steps"] == [1, 2, 3] and found["page"] == "<p>the page</p>" and found["inputs"] == 3
    assert found["params"]["finetune.learning_rate"] == str(params.finetune.learning_rate)
    assert found["artifacts"].startswith("mlflow-artifacts:/")
    np.testing.assert_allclose(found["answer"], expected(frames()), rtol=1e-5)

    stored = [path.name for path in (server.folder / "artifacts").rglob("*") if path.is_file()]
    assert {"index.html", "table.csv", "saved_model.pb", "error.txt"} <= set(stored)
    assert not list(client.glob("mlflow.db*")) and not (client / "mlartifacts").exists() and not list(elsewhere.iterdir())
    captured = capfd.readouterr()
    assert "MLflow run" in captured.err
    rows = postgres.everything(server.database, "mlflow")
    assert "train/loss" in rows
    for text in (captured.out, captured.err, done.stdout, done.stderr, server.log, rows):
        assert leaks(text) == []
    for folder in (client, server.folder):
        assert leaks(all_text(folder)) == []


def test_trials_that_write_at_once_each_keep_their_own(composed, client, server):
    """Four processes, as a sweep starts them: none waits for another, nothing is lost or mixed up, each gets a version."""
    Path("params.json").write_text(json.dumps(composed | {"data": composed["data"] | {"name": "sweep"}}))
    Path("saved_model").mkdir()
    Path("saved_model/saved_model.pb").write_text("stands for a model")
    Path("note.txt").write_text("an artifact")
    DESCRIPTION.write(Path("classifier.json"))
    code = """
import json, os, sys
from pathlib import Path
import pandas as pd
from pipeline.artifacts import ClassifierDescription
from pipeline.params import parse_params
from pipeline.tracking import begin_run, log_classifier, stage_run
number = int(os.environ["TRIAL"])
description = ClassifierDescription.read(Path("classifier.json"))
params = parse_params(json.loads(Path("params.json").read_text()))
folder = Path(f"trial_{number}")
with begin_run(params, folder / "run.json") as run:
    rows = [{"epoch": epoch, "loss": number + epoch / 100} for epoch in range(1, 31)]
    for end in range(1, 31):
        run.log_history(pd.DataFrame(rows[end - 1:end]))
    run.log_artifact(Path("note.txt"))
    version = log_classifier(run, Path("saved_model"), description, params).version
with stage_run(params, "evaluate", folder / "run.json") as run:
    run.log_metrics({"test": {"top1": number / 10}})
print(json.dumps([run.run_id, version]))
assert "tensorflow" not in sys.modules
"""
    processes = [run_python(code, TRIAL=str(number)) for number in range(4)]
    answers = [process.communicate(timeout=500) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    found = [json.loads(out.splitlines()[-1]) for out, _ in answers]
    assert sorted(version for _, version in found) == ["1", "2", "3", "4"]
    store = open_client()
    (experiment,) = [item for item in store.search_experiments() if item.name == "sweep"]
    assert {run.info.run_id for run in store.search_runs([experiment.experiment_id])} == {run_id for run_id, _ in found}
    for number, (run_id, _) in enumerate(found):
        run = store.get_run(run_id)
        assert run.info.status == "FINISHED" and run.data.metrics["test/top1"] == number / 10
        losses = store.get_metric_history(run_id, "train/loss")
        assert [(point.step, point.value) for point in losses] == [(epoch, number + epoch / 100) for epoch in range(1, 31)]
        assert [item.path for item in store.list_artifacts(run_id)] == ["environment.json", "note.txt"]
    assert leaks("\n".join(out + err for out, err in answers)) == []


def test_a_database_can_be_the_store_itself(composed, place, database, monkeypatch):
    """Without a server: three processes meet an empty database; its password is shown nowhere."""
    uri = postgres.create_database(database, "direct")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = check_tracking()
    assert found.status == "ok" and "will be made" in found.message
    code = "from pipeline.tracking.store import *; print(experiment_id(open_client(), 'shared'))"
    processes = [run_python(code) for _ in range(3)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, answers
    assert len({out for out, _ in answers}) == 1
    params = parse_params(composed)
    with begin_run(params, RUN_FILE) as run:
        run.log_history(history(2))
        run.log_artifact(Path("data/manifest.csv"))
    assert (place / "mlartifacts" / run.run_id / "artifacts/manifest.csv").exists()
    assert "usable" in check_tracking().message
    texts = [*(part for answer in answers for part in answer), all_text(place), postgres.everything(database, "direct")]
    assert all(leaks(text) == [] for text in texts)


@pytest.mark.parametrize("change", ["password", "port"])
def test_a_database_that_refuses_is_one_line_without_its_password(place, database, monkeypatch, change):
    host = database if change == "password" else f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://{postgres.USER}:{PASSWORD}@{host}/postgres")
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        configure()
    assert time.monotonic() - began < 60
    found = check_tracking()
    assert found.status == "problem" and "cannot be used" in found.message
    for text in (str(caught.value), found.message, found.advice):
        assert leaks(text) == [] and "\n" not in text
