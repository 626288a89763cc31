"""Checks that MLflow's server or database can be used, without importing MLflow, which takes seconds."""

import importlib.util
import os
import re
from pathlib import Path

import requests

from pipeline.check_results import CheckResult, ok, problem, refused, warning
from pipeline.console import UserError, without_credentials
from pipeline.tracking.store import is_database, tracking_uri

TIMEOUT = 10  # seconds without a byte
UNSET = "or unset MLFLOW_TRACKING_URI to track in mlflow.db"
_REVISION = re.compile(r'^(revision|down_revision)\s*=\s*["\']?(\w+)', re.MULTILINE)


def check_tracking() -> CheckResult:
    try:
        uri = tracking_uri()
    except UserError as error:
        return refused("tracking", error)
    if uri.startswith(("http://", "https://")):
        return _check_server(uri)
    if is_database(uri):
        return _check_database(uri)
    return warning("tracking", f"MLflow at {without_credentials(uri)} is of a kind that is not checked here")


def _check_server(uri: str) -> CheckResult:
    """Sends the request that MLflow's client would send, with its credentials."""
    where = without_credentials(uri)
    query = {"max_results": 1}
    try:
        with _session() as session:
            answer = session.post(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search", json=query, timeout=TIMEOUT)
    except (requests.RequestException, OSError) as error:
        return problem("tracking", f"MLflow at {where}: no answer ({type(error).__name__})", f"start the server, {UNSET}")
    if answer.status_code in (401, 403):
        advice = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN; a server that refuses the host needs --allowed-hosts"
        reason = " ".join(answer.text[:200].split())
        return problem("tracking", f"MLflow at {where}: access refused (HTTP {answer.status_code}: {reason})", advice)
    if answer.status_code != 200 or "json" not in answer.headers.get("Content-Type", ""):
        message = f"{where} answers, but not as MLflow does (HTTP {answer.status_code})"
        return problem("tracking", message, f"check MLFLOW_TRACKING_URI, {UNSET}")
    return ok("tracking", f"MLflow at {where} answers")


def _session() -> requests.Session:
    variables, session = os.environ, requests.Session()
    if variables.get("MLFLOW_TRACKING_USERNAME"):
        session.auth = (variables["MLFLOW_TRACKING_USERNAME"], variables.get("MLFLOW_TRACKING_PASSWORD", ""))
    elif variables.get("MLFLOW_TRACKING_TOKEN"):
        session.headers["Authorization"] = f"Bearer {variables['MLFLOW_TRACKING_TOKEN']}"
    if variables.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        session.verify = False
    elif variables.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        session.verify = variables["MLFLOW_TRACKING_SERVER_CERT_PATH"]
    return session


def _check_database(uri: str) -> CheckResult:
    from sqlalchemy import create_engine, inspect, text
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
            known = "alembic_version" in tables
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() if known else []
        engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split()).replace(uri, where)[:200]
        return problem("tracking", f"MLflow's database {where} cannot be used: {reason}", f"start or repair it, {UNSET}")
    if current and set(current) != _newest_schema():
        message = f"MLflow's database {where} was made by another MLflow version (schema {', '.join(current)})"
        return problem("tracking", message, f"back it up, then `mlflow db upgrade {where}`")
    state = "is usable" if current else f"is empty of MLflow's tables, which will be made next to its {len(tables)}"
    return ok("tracking", f"MLflow's database {where} {state}")


def _newest_schema() -> set[str]:
    """The schema revisions of the installed MLflow: those of its migration scripts that no other script follows."""
    scripts = Path(importlib.util.find_spec("mlflow").origin).parent / "store" / "db_migrations" / "versions"
    found = [pair for script in scripts.glob("*.py") for pair in _REVISION.findall(script.read_text(encoding="utf-8"))]
    followed = {revision for kind, revision in found if kind == "down_revision"}
    return {revision for kind, revision in found if kind == "revision"} - followed
