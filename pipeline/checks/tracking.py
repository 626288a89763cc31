"""Checks that MLflow's server or database can be used, without importing MLflow, which takes seconds."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import InsecureRequestWarning

from pipeline.check_results import CheckResult, ok, problem, refused, warning
from pipeline.console import UserError, without_credentials
from pipeline.tracking.relocation import former_artifacts
from pipeline.tracking.schema import schema_difference
from pipeline.tracking.store import (
    CERTIFICATE,
    CERTIFICATE_ADVICE,
    artifact_root,
    certificate_message,
    default_database,
    default_uri,
    deleted_experiment,
    driver_error,
    is_database,
    tracking_uri,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

TIMEOUT = 10  # seconds without a byte
UNSET = "or unset MLFLOW_TRACKING_URI to track in mlflow.db"


def check_tracking(experiment: str | None = None) -> CheckResult:
    """experiment: name of the MLflow experiment of the next run; None to leave it out."""
    try:
        uri = tracking_uri()
        if uri.startswith(("http://", "https://")):
            return _check_server(uri, experiment)
        if is_database(uri):
            return _check_database(uri, experiment)
    except UserError as error:
        return refused("tracking", error)
    return warning("tracking", f"MLflow at {without_credentials(uri)} is of a kind that is not checked here")


def _check_server(uri: str, experiment: str | None) -> CheckResult:
    """Sends the requests that MLflow's client would send, with its credentials and certificates."""
    where = without_credentials(uri)
    address = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments"
    found = None
    try:
        # As arguments of each request, because the environment (REQUESTS_CA_BUNDLE) overrides the same settings of a session.
        options = {"timeout": TIMEOUT, **_certificates()}
        with _session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)  # MLFLOW_TRACKING_INSECURE_TLS asks for it
            answer = session.post(f"{address}/search", json={"max_results": 1}, **options)
            if answer.status_code == 200 and experiment is not None:
                found = session.get(f"{address}/get-by-name", params={"experiment_name": experiment}, **options)
    except (requests.RequestException, OSError) as error:
        text = " ".join(str(error).split())
        if CERTIFICATE.search(text):
            return problem("tracking", f"MLflow at {where}: {certificate_message(text)}", CERTIFICATE_ADVICE)
        return problem("tracking", f"MLflow at {where}: no answer ({type(error).__name__})", f"start the server, {UNSET}")
    if answer.status_code in (401, 403):
        advice = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN; a server that refuses the host needs --allowed-hosts"
        reason = " ".join(answer.text[:200].split())
        return problem("tracking", f"MLflow at {where}: access refused (HTTP {answer.status_code}: {reason})", advice)
    if answer.status_code != 200 or "json" not in answer.headers.get("Content-Type", ""):
        message = f"{where} answers, but not as MLflow does (HTTP {answer.status_code})"
        return problem("tracking", message, f"check MLFLOW_TRACKING_URI, {UNSET}")
    if found is not None and found.status_code == 200:
        known = found.json().get("experiment", {})
        if known.get("lifecycle_stage") == "deleted":
            raise deleted_experiment(experiment, known["experiment_id"])
    return ok("tracking", f"MLflow at {where} answers")


def _session() -> requests.Session:
    variables, session = os.environ, requests.Session()
    if variables.get("MLFLOW_TRACKING_USERNAME"):
        session.auth = (variables["MLFLOW_TRACKING_USERNAME"], variables.get("MLFLOW_TRACKING_PASSWORD", ""))
    elif variables.get("MLFLOW_TRACKING_TOKEN"):
        session.headers["Authorization"] = f"Bearer {variables['MLFLOW_TRACKING_TOKEN']}"
    return session


def _certificates() -> dict[str, str | bool]:
    """`verify` and `cert` of a request, as MLflow's client sets them. Raises UserError for what it refuses."""
    variables = os.environ
    insecure = variables.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    server, client = variables.get("MLFLOW_TRACKING_SERVER_CERT_PATH"), variables.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    if insecure and server is not None:
        message = "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH are both set, which MLflow refuses"
        raise UserError(message, advice="unset MLFLOW_TRACKING_INSECURE_TLS")
    verify = {"verify": server} if server is not None else {"verify": False} if insecure else {}
    return verify | ({"cert": client} if client else {})


def _check_database(uri: str, experiment: str | None) -> CheckResult:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    where = without_credentials(uri)
    if uri.startswith("sqlite:"):
        path = Path(uri.partition(":///")[2])
        folder = next(folder for folder in path.parents if folder.exists())
        if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
            message = f"MLflow's database {path}: it or its folder cannot be written to"
            return problem("tracking", message, f"make them writable, {UNSET}")
        if not path.exists():
            return ok("tracking", f"MLflow's database {path} will be made")
    options = {"connect_timeout": TIMEOUT} if uri.startswith("postgresql") else {}
    try:
        engine = create_engine(uri, connect_args=options)
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            revision = _revision(connection) if "alembic_version" in tables else None
            difference = schema_difference(revision, uri) if revision else None
            if revision and difference is None and experiment is not None:
                _refuse_deleted(connection, experiment)
        engine.dispose()
    except ModuleNotFoundError as error:
        raise driver_error(uri, error) from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split()).replace(uri, where)[:200]
        return problem("tracking", f"MLflow's database {where} cannot be used: {reason}", f"start or repair it, {UNSET}")
    if difference is not None:
        return problem("tracking", f"MLflow's database {where} {difference[0]}", difference[1])
    former = former_artifacts(default_database(), artifact_root()) if revision and uri == default_uri() else None
    if former is not None:
        what = "so the next run or `make ui` changes its artifacts' locations to this folder"
        return ok("tracking", f"MLflow's database {where} was made for {former}, {what}")
    state = "is usable" if revision else f"is empty of MLflow's tables, which will be made next to its {len(tables)}"
    return ok("tracking", f"MLflow's database {where} {state}")


def _revision(connection: "Connection") -> str | None:
    from sqlalchemy import text

    return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().first()


def _refuse_deleted(connection: "Connection", experiment: str) -> None:
    """Raises UserError if the experiment of that name is deleted."""
    from sqlalchemy import text

    query = text("SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = :name")
    found = connection.execute(query, {"name": experiment}).first()
    if found is not None and found.lifecycle_stage == "deleted":
        raise deleted_experiment(experiment, str(found.experiment_id))
