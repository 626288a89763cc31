"""A PostgreSQL server for tests, from the system's packages: in a temporary folder, on the loopback."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import free_port

USER, PASSWORD = "mlflow", "a-secret-of-the-database"


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: that of the newest package, else on the path; None where there is none."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(packaged[-1]) if packaged else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _other_user() -> dict:
    """Whom to start the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("running as root, and there is no user postgres or nobody to run PostgreSQL as")


@contextmanager
def running() -> Iterator[str]:
    """Yields `host:port` of a server with the superuser USER and its PASSWORD; skips the test where PostgreSQL is absent."""
    installed = binaries()
    if installed is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql): no initdb on the path or in /usr/lib/postgresql")
    identity = _other_user()
    # pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            os.chown(path, identity.get("user", -1), identity.get("group", -1))
        options = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **identity}
        initdb = [installed / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", folder / "password", "-A", "scram-sha-256"]
        done = subprocess.run([*initdb, "-E", "UTF8", "--no-sync"], capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        port = free_port()
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        with open(folder / "log", "w") as log:
            command = [installed / "postgres", "-D", folder / "data", "-p", str(port), *settings]
            server = subprocess.Popen(command, stdout=log, stderr=log, **options)
        try:
            _wait(installed, port, server, folder / "log")
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)  # at once; SIGTERM would wait for clients that keep their connections
            server.wait(timeout=60)
    finally:
        shutil.rmtree(folder)


def _wait(binaries: Path, port: int, server: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        if subprocess.run([binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
            return
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not start: {log.read_text()}")


@contextmanager
def connection(host: str, database: str = "postgres"):
    import psycopg2

    name, _, port = host.partition(":")
    opened = psycopg2.connect(host=name, port=port, user=USER, password=PASSWORD, dbname=database)
    opened.autocommit = True  # a database cannot be created within a transaction
    try:
        yield opened.cursor()
    finally:
        opened.close()


def create_database(host: str, name: str) -> str:
    """Makes an empty database; returns its URI for SQLAlchemy and MLflow."""
    with connection(host) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg2://{USER}:{PASSWORD}@{host}/{name}"


def everything(host: str, database: str) -> str:
    """All rows of all tables, as text."""
    with connection(host, database) as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            rows += [f"{table}: {row[0]}" for row in cursor.fetchall()]
    return "\n".join(rows)
