"""Which MLflow a tracking database was made by, from the revision of its tables, and what to do about another one."""

import importlib.util
import re
import shlex
from functools import cache
from importlib import metadata
from pathlib import Path

_REVISION = re.compile(r'^(revision|down_revision)\s*=\s*["\']?(\w+)', re.MULTILINE)


@cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """(all, newest): the revisions that the installed MLflow knows, and those that no other follows. Does not import MLflow."""
    scripts = Path(importlib.util.find_spec("mlflow").origin).parent / "store" / "db_migrations" / "versions"
    found = [pair for script in scripts.glob("*.py") for pair in _REVISION.findall(script.read_text(encoding="utf-8"))]
    followed = {revision for kind, revision in found if kind == "down_revision"}
    known = {revision for kind, revision in found if kind == "revision"}
    return frozenset(known), frozenset(known - followed)


def schema_difference(revision: str, uri: str) -> tuple[str, str] | None:
    """(what differs, advice) for a database of another MLflow version; None if its revision is that of the installed one.

    uri: of the database, with credentials, which the advice does not repeat.
    """
    known, newest = _revisions()
    if revision in newest:
        return None
    installed = metadata.version("mlflow")
    if revision not in known:
        what = f"was made by a newer MLflow than {installed}, which is installed (schema {revision})"
        return what, "use the environment that made it, or another database: tables cannot be taken back to an older version"
    address = shlex.quote(uri) if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'  # others may hold a password
    return f"was made by an older MLflow than {installed} (schema {revision})", f"back it up, then `mlflow db upgrade {address}`"
