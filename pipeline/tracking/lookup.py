"""Finds the MLflow run that a stage should log to.

Invariants: a run holds one trained classifier with one set of evaluation settings. Evaluating with other settings creates a new
run with a copy of what training logged and the tag `finetuned_by`. A run for a classifier that was trained on another tracking
store has the tag `restored_from`. Both tags are set last, so that a run whose creation was interrupted is never found.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline.console import say
from pipeline.files import repository_root
from pipeline.params import Params
from pipeline.processes import is_running
from pipeline.tracking.provenance import PARAM_LENGTH, PARENT_VARIABLE, param_values
from pipeline.tracking.store import experiment_id, not_found

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

COPIED_FROM, RESTORED_FROM, SWEEP = "finetuned_by", "restored_from", "mlflow.parentRunId"
LOOK = 0.5  # seconds between two tries to get a lock


def find_run(client: "MlflowClient", run_id: str) -> "Run | None":
    """Returns the run with that id, or None if it does not exist or was deleted."""
    from mlflow import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if not_found(error):
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def run_to_continue(client: "MlflowClient", params: Params, stage: str, told: str, held: ExitStack) -> "Run | None":
    """Returns the run that `stage` should log to, or None if it needs a new one. The run stays locked until `held` is closed.

    told: id of the run that produced the stage's inputs. `evaluate` takes the first run of that classifier that has not been
    evaluated, or was evaluated with the same settings, and is not locked. `export` and `report` wait for the lock.
    """
    for found in _candidates(client, params, told):
        lock = _lock(found.info.run_id, stage)
        if stage == "evaluate":
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            found = client.get_run(found.info.run_id)  # as it is now that no other can change it
            if not _can_be_evaluated(found, params):
                lock.release()
                continue
        else:
            _await(lock, found, stage)
        held.callback(lock.release)
        return found
    return None


def evaluation_params(params: Params) -> dict[str, str]:
    """What decides how a classifier is evaluated, as MLflow stores it."""
    return {name: value[:PARAM_LENGTH] for name, value in param_values(params).items() if name.startswith("evaluate.")}


def _candidates(client: "MlflowClient", params: Params, told: str) -> Iterator["Run"]:
    """The run `told`, then those that were made from it, the oldest first."""
    first = find_run(client, told)
    if first is not None:
        yield first
    places = {experiment_id(client, params.tracking.experiment or params.data.name)}
    places |= set() if first is None else {first.info.experiment_id}
    for tag in (COPIED_FROM, RESTORED_FROM):
        yield from client.search_runs(sorted(places), f"tags.`{tag}` = '{told}'", order_by=["attributes.start_time ASC"])


def _can_be_evaluated(run: "Run", params: Params) -> bool:
    logged = {name: value for name, value in run.data.params.items() if name.startswith("evaluate.")}
    if logged and logged != evaluation_params(params):
        return False
    owner, sweep = run.data.tags.get("stage.evaluate"), os.environ.get(PARENT_VARIABLE)
    if owner == "done":  # another sweep's finished trial stays as that sweep compared it
        return not sweep or run.data.tags.get(SWEEP) == sweep
    if owner is None or run.info.status in ("FAILED", "KILLED"):
        return True
    if owner.count(":") < 2:  # of an earlier version, whose processes have ended
        return True
    return is_running(owner) is False  # another copy of the repository may be at it, or another machine, which cannot be seen


def _lock(run_id: str, stage: str) -> FileLock:
    """Held by the process that is at `stage` of a run; the system lets go of it however that process ends."""
    folder = repository_root() / ".cache" / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{run_id}.{stage}.lock", thread_local=False)


def _await(lock: FileLock, run: "Run", stage: str) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process, which is at {stage} of MLflow run {run.info.run_name} ({run.info.run_id})")
        lock.acquire(poll_interval=LOOK)
