"""Artifact locations of a checkout that was moved or copied with its mlflow.db.

MLflow stores the absolute location of every experiment's, run's and model's artifacts. Left as they are, a moved checkout would
write to its old folder, and a copy into the original's.

Invariants: only `<root>/mlflow.db` is changed, all of it or nothing; only locations in the `mlartifacts` folder next to which the
database was made, which the location of MLflow's Default experiment records.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.console import say

DEFAULT_EXPERIMENT = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
# Every column of MLflow's tables that holds the location of artifacts.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
WAIT = 60  # seconds for another process that writes to the database


def former_artifacts(database: Path, artifacts: str) -> str | None:
    """The artifact root, a URI, that the database was made with; None if that is `artifacts`, or if there is no database."""
    if not database.is_file():
        return None
    with closing(_open(database)) as connection:
        return _former(connection, artifacts)


def relocate(database: Path, artifacts: str) -> None:
    """Changes the locations in a moved or copied database to `artifacts`, the URI of the `mlartifacts` next to it.

    Raises sqlite3.Error if the database cannot be read or changed.
    """
    if not database.is_file():
        return
    with closing(_open(database)) as connection:
        if _former(connection, artifacts) is None:  # nearly always, and this takes no lock
            return
        connection.execute("BEGIN IMMEDIATE")
        former = _former(connection, artifacts)  # as it is now that no other process can change it
        if former is None:
            return
        runs = 0
        for table, column in COLUMNS:
            changed = connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (artifacts, len(former) + 1, former, len(former) + 1, f"{former}/"),
            )
            runs += changed.rowcount if table == "runs" else 0
        connection.execute("COMMIT")
    if runs:
        say(f"this folder was moved or copied: mlflow.db points to the artifacts in {artifacts}, not {former} (runs: {runs})")


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=WAIT, isolation_level=None)


def _former(connection: sqlite3.Connection, artifacts: str) -> str | None:
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'").fetchone()
    location = connection.execute(DEFAULT_EXPERIMENT).fetchone() if made else None
    former = location[0].removesuffix("/0") if location and location[0] else ""
    ours = former.startswith("file:///") and former.endswith("/mlartifacts")
    return former if ours and former != artifacts else None
