"""Servers are fakes here; tests/test_tracking_server.py uses a real one, and a real PostgreSQL."""

import base64
import json
import os
import sqlite3
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipeline.checks import tracking
from pipeline.checks.tracking import check_tracking
from pipeline.console import UserError
from pipeline.tracking.relocation import relocate
from pipeline.tracking.store import artifact_root, configure
from tests.servers import free_port
from tests.tracking_store import empty_database  # noqa: F401


@pytest.fixture
def server():
    """A fake whose `status`, `body` and `kind` answer every POST; `seen` keeps path and Authorization."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.do_POST()

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
    relocate(workspace / "mlflow.db", artifact_root())
    found = check_tracking()
    assert found.status == "ok" and "usable" in found.message


def change(database, statement: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("revision", "message", "advice"),
    [
        ("dfb4f1e12345", "newer MLflow than", "use the environment that made it, or another database"),
        ("451aebb31d03", "older MLflow than", "back it up, then `mlflow db upgrade sqlite:////"),
    ],
)
def test_a_database_of_another_mlflow_says_which_way_to_go(workspace, empty_database, revision, message, advice):  # noqa: F811
    (workspace / "mlflow.db").write_bytes(empty_database.read_bytes())
    change(workspace / "mlflow.db", f"UPDATE alembic_version SET version_num = '{revision}'")
    found = check_tracking()
    assert found.status == "problem" and message in found.message and advice in found.advice
    with pytest.raises(UserError) as caught:
        configure()
    assert message in caught.value.message and advice in caught.value.advice
    assert ("upgrade" in found.advice) == (message.startswith("older"))


def test_a_deleted_experiment_is_a_problem(workspace, empty_database):  # noqa: F811
    (workspace / "mlflow.db").write_bytes(empty_database.read_bytes())
    change(workspace / "mlflow.db", "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'Default'")
    assert check_tracking("another").status == "ok"
    found = check_tracking("Default")
    assert found.status == "problem" and "'Default' is deleted" in found.message
    assert "mlflow experiments restore -x 0" in found.advice


def test_a_deleted_experiment_of_a_server_is_a_problem(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_address[1]}")
    server.body = json.dumps({"experiment": {"experiment_id": "7", "lifecycle_stage": "deleted"}}).encode()
    found = check_tracking("a b")
    assert found.status == "problem" and "mlflow experiments restore -x 7" in found.advice
    assert server.seen[-1][0] == "/api/2.0/mlflow/experiments/get-by-name?experiment_name=a+b"
    server.body = json.dumps({"experiment": {"experiment_id": "7", "lifecycle_stage": "active"}}).encode()
    assert check_tracking("a b").status == "ok"


@pytest.mark.parametrize(
    ("uri", "message", "advice"),
    [
        ("postgresql://a:secret@host/db", "package psycopg ", "write postgresql+psycopg2://"),
        ("mysql://a:secret@host/db", "package MySQLdb ", "mysql+<driver>://"),
    ],
)
def test_a_database_without_its_driver_says_what_to_write(monkeypatch, uri, message, advice):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = check_tracking()
    assert found.status == "problem" and message in found.message and advice in found.advice
    with pytest.raises(UserError) as caught:
        configure()
    assert (caught.value.message, caught.value.advice) == (found.message, found.advice)
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that signs itself, for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mlflow.example.org")])
    day = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day - timedelta(1), day + timedelta(1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    return path


def test_a_server_with_a_certificate_of_its_own(server, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())  # overrides what is set on a session
    found = check_tracking()
    assert found.status == "problem" and "its certificate is not trusted (self-signed certificate)" in found.message
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in found.advice
    with pytest.raises(UserError) as caught:
        configure()
    assert (caught.value.message, caught.value.advice) == (found.message, found.advice)

    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    assert check_tracking("sample").status == "ok"
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert "which MLflow refuses" in check_tracking().message
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    assert check_tracking("sample").status == "ok"
    monkeypatch.delenv("MLFLOW_TRACKING_INSECURE_TLS")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate.with_name("absent.pem")))
    found = check_tracking()
    assert found.status == "problem" and "absent.pem" in found.message and "MLFLOW_TRACKING_SERVER_CERT_PATH" in found.advice


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
