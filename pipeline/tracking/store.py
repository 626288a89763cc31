"""The tracking store: the user's MLflow server or database, else an sqlite database at the root of the repository.

Invariants: paths are absolute, those in the database of a moved checkout are changed to its new place (see relocation.py), and a
database is created by one process while the others wait, because MLflow's own creation fails when several open an empty one.
"""

import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock, Timeout

from pipeline.console import UserError, quiet_libraries, without_credentials
from pipeline.files import repository_root
from pipeline.tracking.relocation import relocate
from pipeline.tracking.schema import schema_difference

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
LOCK_SECONDS = 300  # creating the database takes 5 s on a free core, a minute on a crowded one
PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
# Five retries outlast a server's restart (about a minute). MLflow's own seven wait over four minutes for a dead one.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
CERTIFICATE = re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL:|TLS CA certificate bundle|TLS certificate file")
CERTIFICATE_ADVICE = "set MLFLOW_TRACKING_SERVER_CERT_PATH to the certificate of the server, or of the authority that signed it"
_ready: set[str] = set()  # stores that this process has already opened


def configure() -> str:
    """The tracking URI, its store ready for use.

    `MLFLOW_TRACKING_URI` when set, a relative sqlite path in it made absolute from the repository's root; else
    `sqlite:///<root>/mlflow.db`, created when absent.
    Raises UserError for a file store, which MLflow 3 no longer takes, and for a server that does not answer within seconds.
    """
    uri = tracking_uri()
    if uri in _ready:
        return uri
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if is_database(uri):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        _quiet_mlflow()
        with readable_errors(uri), _creation_lock(uri):
            _connect(uri)
            if uri == default_uri():
                relocate(default_database(), artifact_root())
            SqlAlchemyStore(uri, artifact_root())
    else:
        with _environment(PROBE), readable_errors(uri):
            _client(uri).search_experiments(max_results=1)
    _ready.add(uri)
    return uri


def open_client() -> "MlflowClient":
    """A client of the configured store."""
    return _client(configure())


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The id of the experiment `name`, created when absent. Artifacts of a database's runs go to `<root>/mlartifacts`."""
    from mlflow import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server chooses the location of artifacts itself.
        location = artifact_root() if is_database(client.tracking_uri) else None
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException as error:
            if not already_exists(error):  # else another process was first
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise deleted_experiment(name, found.experiment_id)
    _check_location(name, found.artifact_location)
    return found.experiment_id


def deleted_experiment(name: str, number: str) -> UserError:
    return UserError(
        f"MLflow experiment {name!r} is deleted",
        advice=f"`mlflow experiments restore -x {number}`, or set tracking.experiment to another name",
    )


def _check_location(name: str, location: str) -> None:
    """Raises UserError if the experiment's artifacts go to a folder of this machine that cannot be written."""
    if not location.startswith(("file:", "/")):  # mlflow-artifacts:, s3: and others
        return
    folder = Path(url2pathname(urlsplit(location).path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        message = f"MLflow experiment {name!r} keeps its artifacts in {folder}, which cannot be written ({reason})"
        raise UserError(message, advice="make that folder, or set tracking.experiment to another name")


def default_database() -> Path:
    return repository_root() / "mlflow.db"


def default_uri() -> str:
    return f"sqlite:///{default_database()}"


def require_runs() -> None:
    """Raises UserError if the default database does not exist: who only reads must not make an empty one, in whatever folder."""
    if tracking_uri() == default_uri() and not default_database().exists():
        here = Path("dvc.yaml").exists()
        advice = (
            "`make run` makes the first run" if here else "run this in the folder of the pipeline, or set MLFLOW_TRACKING_URI"
        )
        raise UserError(f"{default_database()}: not found, so there are no MLflow runs", advice=advice)


def artifact_root() -> str:
    """`<root>/mlartifacts` as a file URI."""
    return (repository_root() / "mlartifacts").as_uri()


def already_exists(error: Exception) -> bool:
    return getattr(error, "error_code", None) in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")


def lost_race(error: BaseException) -> bool:
    """Whether another process inserted the same row first, by the messages of SQLite, PostgreSQL and MySQL."""
    return re.search(r"UNIQUE constraint failed|duplicate key value|Duplicate entry", str(error)) is not None


def not_found(error: Exception) -> bool:
    return getattr(error, "error_code", None) in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")


@contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Makes one line of what MLflow, its HTTP client, a database driver or the disk raises."""
    from mlflow import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, OSError, ModuleNotFoundError) as error:
        text = " ".join(str(error).split()).replace(uri, without_credentials(uri))
        where = f"MLflow at {without_credentials(uri)}"
        if isinstance(error, ModuleNotFoundError) and is_database(uri):
            raise driver_error(uri, error) from error
        schema = re.search(r"out-of-date database schema \(found version (\w+)", text)
        if schema and (difference := schema_difference(schema[1], uri)) is not None:
            raise UserError(f"{where} {difference[0]}", advice=difference[1]) from error
        if re.search(r"\b40[13]\b", text):
            raise UserError(
                f"{where}: access refused ({text[:200]})", advice="set MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN"
            ) from error
        if CERTIFICATE.search(text):
            raise UserError(f"{where}: {certificate_message(text)}", advice=CERTIFICATE_ADVICE) from error
        if re.search(r"Max retries|Connection|timed out|resolve", text):
            raise UserError(
                f"{where}: no answer", advice="start the server, or unset MLFLOW_TRACKING_URI to track in mlflow.db"
            ) from error
        raise UserError(f"{where}: {text[:500]}") from error


def certificate_message(text: str) -> str:
    """What is wrong with a server's certificate, from the words of an HTTP client's exception."""
    reason = re.search(r"certificate verify failed: ([^()]+?) ?\(", text)
    return f"its certificate is not trusted ({reason[1]})" if reason else f"no TLS connection ({text[-200:]})"


def driver_error(uri: str, error: ModuleNotFoundError) -> UserError:
    """For a database whose driver is not installed. SQLAlchemy 2.1 takes psycopg for `postgresql://`; the lock has psycopg2."""
    message = f"MLflow at {without_credentials(uri)}: the Python package {error.name} for this kind of database is not installed"
    if uri.startswith("postgresql"):
        return UserError(message, advice="write postgresql+psycopg2:// in MLFLOW_TRACKING_URI: that driver is installed")
    return UserError(message, advice=f"install it, or name an installed driver: {uri.split(':')[0].split('+')[0]}+<driver>://")


def _connect(uri: str) -> None:
    """Raises at once where a database refuses; MLflow itself retries for over a minute and a half."""
    from sqlalchemy import create_engine

    if not uri.startswith("sqlite:"):
        engine = create_engine(uri, connect_args={"connect_timeout": 10} if uri.startswith("postgresql") else {})
        try:
            engine.connect().close()
        finally:
            engine.dispose()


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    _quiet_mlflow()
    return MlflowClient(tracking_uri=uri)


def _quiet_mlflow() -> None:
    """MLflow sets the levels of its own loggers when it is imported, and warns where it is given what it could infer."""
    quiet_libraries()
    warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.")


def is_database(uri: str) -> bool:
    """Whether MLflow opens the URI itself, rather than through a server."""
    return uri.split(":", 1)[0].split("+", 1)[0] in DATABASES


def tracking_uri() -> str:
    """The absolute URI of the configured store, opened or not; raises UserError for stores that cannot keep runs."""
    uri, root = os.environ.get("MLFLOW_TRACKING_URI", "").strip(), repository_root()
    if not uri:
        return default_uri()
    if uri.startswith("file:") or ("://" not in uri and not uri.startswith(("databricks", "uc"))):
        raise UserError(
            f"MLFLOW_TRACKING_URI={uri}: MLflow 3 keeps no runs in plain files",
            advice=f"unset it (the default is {root}/mlflow.db), or set it to sqlite:////absolute/path.db or to http://host:port",
        )
    if uri.startswith("sqlite:"):
        path = uri.partition(":///")[2]
        if path in ("", ":memory:"):
            raise UserError(
                f"MLFLOW_TRACKING_URI={uri}: each stage is its own process", advice="set it to sqlite:////absolute/path.db"
            )
        return f"{uri.partition(':///')[0]}:///{root / path}"
    return uri


@contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """Held by one process of this machine at a time; for sqlite the lock is next to the database, else in the repository."""
    path = Path(f"{uri.partition(':///')[2]}.lock") if uri.startswith("sqlite:") else repository_root() / "mlflow.db.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        message = f"{path}: held by another process for {LOCK_SECONDS} s"
        raise UserError(message, advice="end that process and run again") from None


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a while, except those that the user set; DEFAULTS do not count as such."""
    before = {name: os.environ.get(name) for name in values}
    changed = [name for name, value in before.items() if value is None or value == DEFAULTS.get(name)]
    os.environ.update({name: values[name] for name in changed})
    try:
        yield
    finally:
        for name in changed:
            if before[name] is None:
                del os.environ[name]
            else:
                os.environ[name] = before[name]
