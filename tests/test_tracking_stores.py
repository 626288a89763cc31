"""Tracking stores: databases and servers, and the messages where one is not available."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from pipeline.console import UserError, without_credentials
from pipeline.params import parse_params
from pipeline.tracking import begin_run, configure
from pipeline.tracking.store import DEFAULTS, experiment_id, open_client
from tests.servers import free_port, wait_for
from tests.tracking_store import (  # noqa: F401
    RUN_FILE,
    composed,
    empty_database,
    evaluate,
    finetune,
    params,
    place,
    run_python,
    store,
    stored,
)


def test_deleted_experiment_is_one_line(params, store):
    client = open_client()
    client.delete_experiment(experiment_id(client, "sample"))
    with pytest.raises(UserError, match="is deleted; `mlflow experiments restore"), begin_run(params, RUN_FILE):
        pass


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns", "mlruns", "sqlite://", "sqlite:///:memory:"])
def test_stores_that_keep_no_runs_are_refused(place, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI=.*set it to sqlite:////absolute/path.db"):
        configure()


def test_relative_database_is_the_repositorys_wherever_the_stage_runs(store, monkeypatch):
    (store / "elsewhere").mkdir()
    monkeypatch.chdir(store / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert configure() == f"sqlite:///{store}/mlflow.db"


def test_server_that_does_not_answer_is_one_line_within_seconds(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(UserError, match="no answer; start the server") as caught:
        configure()
    assert time.monotonic() - began < 15
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == DEFAULTS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]


@pytest.mark.parametrize(
    ("uri", "clean"),
    [
        ("https://anna:secret@host:5000/path?token=1", "https://host:5000/path"),
        ("postgresql+psycopg2://anna:se@cret@host/db?password=1", "postgresql+psycopg2://host/db"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("data/sample.zip", "data/sample.zip"),
    ],
)
def test_credentials_are_removed_from_uris(uri, clean):
    assert without_credentials(uri) == clean


@pytest.mark.slow
def test_processes_that_create_a_database_at_once_agree(place):
    code = "from pipeline.tracking.store import *; print(experiment_id(open_client(), 'shared'))"
    processes = [run_python(code) for _ in range(4)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert [err for _, err in answers] == [""] * 4  # and nothing that does not concern the user
    names = {path.name for path in place.iterdir() if not path.name.startswith("mlflow.db")}
    assert names <= {"data", "mlartifacts"}  # no mlruns, and nothing else that MLflow makes by itself


@pytest.mark.slow
def test_server_keeps_runs_and_artifacts(composed, params, store, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(store / "mlflow.db", folder / "server.db")
    (store / "mlflow.db").unlink()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen([*command, *stores], cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        begun = finetune(params)
        run = evaluate(params)
        run.log_artifact(RUN_FILE)
        other = parse_params(composed | {"evaluate": composed["evaluate"] | {"views": 7}})
        assert run.run_id == begun.run_id == evaluate(params).run_id and evaluate(other).origin == "derived"
        assert stored(run).data.metrics["test/top1"] == 0.5
        assert [path.name for path in (folder / "kept").rglob("run.json")] == ["run.json"]
        assert not (store / "mlflow.db").exists()
    finally:
        server.terminate()
        server.wait(timeout=60)
