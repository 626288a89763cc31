"""Whether MLflow's server or database can be used, asked as MLflow asks but without its import, which takes seconds."""

import importlib.util
import os
import re
from pathlib import Path

import requests

from pipeline.check_results import CheckResult, ok, problem, refused, warning
from pipeline.console import UserError, without_credentials
from pipeline.tracking.store import is_database, tracking_uri

TIMEOUT = 10  # seconds without a byte
_REVISION = re.compile(r'^(revision|down_revision)\s*=\s*["\']?(\w+)', re.MULTILINE)
UNSET = "or unset MLFLOW_TRACKING_URI to track in mlflow.db"


def _head_revisions() -> set[str]:
    """The newest database schema of the installed MLflow, from its migration scripts: those that no other follows."""
    package = importlib.util.find_spec("mlflow")
    scripts = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    named: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for script in sorted(scripts.glob("*.py")):
        for kind, revision in _REVISION.findall(script.read_text(encoding="utf-8")):
            named[kind].add(revision)
    return named["revision"] - named["down_revision"]


def _server(uri: str) -> CheckResult:
    where, variables = without_credentials(uri), os.environ
    session = requests.Session()
    if variables.get("MLFLOW_TRACKING_USERNAME"):
        session.auth = (variables["MLFLOW_TRACKING_USERNAME"], variables.get("MLFLOW_TRACKING_PASSWORD", ""))
    elif variables.get("MLFLOW_TRACKING_TOKEN"):
        session.headers["Authorization"] = f"Bearer {variables['MLFLOW_TRACKING_TOKEN']}"
    if variables.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        session.verify = False
    elif variables.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        session.verify = variables["MLFLOW_TRACKING_SERVER_CERT_PATH"]
    query = {"max_results": 1}
    try:
        with session.post(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search", json=query, timeout=TIMEOUT) as response:
            status, body = response.status_code, response.text[:200]
    except (requests.RequestException, OSError) as error:
        reason = type(error).__name__
        return problem("tracking", f"MLflow at {where}: no answer ({reason})", f"start the server, {UNSET}")
    if status in (401, 403):
        advice = "set MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN; a server that refuses the host needs --allowed-hosts"
        return problem("tracking", f"MLflow at {where}: access refused (HTTP {status}: {' '.join(body.split())})", advice)
    if status != 200 or "json" not in response.headers.get("Content-Type", ""):
        return problem(
            "tracking", f"{where} answers, but not as MLflow does (HTTP {status})", f"check MLFLOW_TRACKING_URI, {UNSET}"
        )
    return ok("tracking", f"MLflow at {where} answers")


def _database(uri: str) -> CheckResult:
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    where = without_credentials(uri)
    if uri.startswith("sqlite:"):
        path = Path(uri.partition(":///")[2])
        if not path.exists():
            return _new_file(path)
        if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
            return problem("tracking", f"{path} or its folder cannot be written to", f"make them writable, {UNSET}")
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
        return problem("tracking", f"MLflow's database {where} cannot be used: {reason}", f"start or mend it, {UNSET}")
    if not current:
        return ok("tracking", f"MLflow's tables will be made in {where}, where there are {len(tables)}")
    if set(current) != _head_revisions():
        message = f"MLflow's database {where} was made by another MLflow version (schema {', '.join(current)})"
        return problem("tracking", message, f"back it up, then `mlflow db upgrade {where}`")
    return ok("tracking", f"MLflow's database {where} is usable")


def _new_file(path: Path) -> CheckResult:
    parent = next(folder for folder in path.parents if folder.exists())
    if os.access(parent, os.W_OK):
        return ok("tracking", f"MLflow's database {path} will be made")
    return problem("tracking", f"MLflow's database {path} cannot be made: {parent} cannot be written to", "make it writable")


def check_tracking() -> CheckResult:
    """Where runs will be kept, and whether they can be."""
    try:
        uri = tracking_uri()
    except UserError as error:
        return refused("tracking", error)
    if uri.startswith(("http://", "https://")):
        return _server(uri)
    if is_database(uri):
        return _database(uri)
    return warning("tracking", f"MLflow at {without_credentials(uri)} is of a kind that is not checked here")
