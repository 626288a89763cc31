"""Servers are fakes here; tests/test_tracking_server.py uses a real one, and a real PostgreSQL."""

import base64
import json
import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.checks import tracking
from pipeline.checks.tracking import check_tracking
from tests.servers import free_port
from tests.tracking_store import empty_database  # noqa: F401


@pytest.fixture
def server():
    """A fake whose `status`, `body` and `kind` answer every POST; `seen` keeps path and Authorization."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            running.seen.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(running.status)
            self.send_header("Content-Type", running.kind)
            self.end_headers()
            self.wfile.write(running.body)

        def log_message(self, *arguments):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    running.status, running.body, running.kind, running.seen = 200, json.dumps({}).encode(), "application/json", []
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_server_is_requested_like_mlflow_with_each_kind_of_credentials(server, monkeypatch):
    host = f"127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@{host}/")
    found = check_tracking()
    assert found.status == "ok" and found.message == f"MLflow at http://{host}/ answers"
    assert server.seen == [("/api/2.0/mlflow/experiments/search", basic("anna", "secret"))]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{host}")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    check_tracking()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bert")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p")
    check_tracking()
    assert [authorization for _, authorization in server.seen[1:]] == ["Bearer t", basic("bert", "p")]


@pytest.mark.parametrize(
    ("status", "kind", "message", "advice"),
    [
        (401, "text/plain", "access refused (HTTP 401", "MLFLOW_TRACKING_USERNAME"),
        (403, "text/plain", "access refused (HTTP 403: Invalid Host", "--allowed-hosts"),
        (404, "text/html", "not as MLflow does (HTTP 404)", "check MLFLOW_TRACKING_URI"),
        (200, "text/html", "not as MLflow does (HTTP 200)", "check MLFLOW_TRACKING_URI"),
    ],
)
def test_a_server_that_refuses_or_is_another_is_a_problem(server, monkeypatch, status, kind, message, advice):
    server.status, server.kind, server.body = status, kind, b"Invalid Host header"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{server.server_address[1]}")
    found = check_tracking()
    assert found.status == "problem" and message in found.message and advice in found.advice
    assert "secret" not in found.message


def test_a_server_that_does_not_answer_is_a_problem(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{free_port()}")
    found = check_tracking()
    assert found.status == "problem" and "no answer" in found.message and "secret" not in found.message


def test_the_default_database_is_made_later_and_then_usable(workspace, empty_database):  # noqa: F811
    found = check_tracking()
    assert found.status == "ok" and f"{workspace}/mlflow.db will be made" in found.message
    assert not list(workspace.iterdir())
    (workspace / "mlflow.db").write_bytes(empty_database.read_bytes())
    found = check_tracking()
    assert found.status == "ok" and "usable" in found.message
    with sqlite3.connect(workspace / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'dfb4f1e12345'")
    connection.close()
    found = check_tracking()
    assert found.status == "problem" and "another MLflow version" in found.message and "mlflow db upgrade" in found.advice


def test_a_broken_database_is_a_problem(workspace):
    (workspace / "mlflow.db").write_bytes(b"not a database" * 1000)
    found = check_tracking()
    assert found.status == "problem" and "file is not a database" in found.message


def test_a_read_only_database_is_a_problem(workspace, monkeypatch):
    monkeypatch.setattr(tracking.os, "access", lambda path, mode: False)  # root may write anywhere
    assert "cannot be written to" in check_tracking().message
    (workspace / "mlflow.db").touch()
    assert "cannot be written to" in check_tracking().message


def test_a_store_that_stages_reject_is_a_problem(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///tmp/mlruns")
    found = check_tracking()
    assert found.status == "problem" and "keeps no runs in plain files" in found.message
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks://profile")
    assert check_tracking().status == "warning"
    assert os.environ["MLFLOW_TRACKING_URI"] == "databricks://profile"
