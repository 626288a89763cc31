"""Finds the MLflow run that a stage should log to.

Invariants: a run holds one trained classifier with one set of evaluation settings. Evaluating with other settings creates a new
run with the tag `finetuned_by`, which names training's. A run for a classifier that was trained on another tracking store has the
tag `restored_from`. Both tags are set last, so that a run whose creation was interrupted is never found.
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
    from mlflow.entities import LoggedModel, Run

FINETUNED_BY, RESTORED_FROM, SWEEP = "finetuned_by", "restored_from", "mlflow.parentRunId"
POLL = 0.5  # seconds between two attempts to take a lock


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


def find_model(client: "MlflowClient", run: "Run") -> "LoggedModel | None":
    """Returns the newest complete model that the run, or the training that it was made from, logged; None if there is none."""
    from mlflow import MlflowException
    from mlflow.entities import LoggedModelStatus

    found = []
    training = find_run(client, run.data.tags[FINETUNED_BY]) if FINETUNED_BY in run.data.tags else None
    for made_by in (run, training):
        for output in made_by.outputs.model_outputs if made_by is not None and made_by.outputs is not None else ():
            try:
                found.append(client.get_logged_model(output.model_id))
            except MlflowException as error:
                if not not_found(error):
                    raise
    complete = [model for model in found if model.status == LoggedModelStatus.READY]
    return max(complete, key=lambda model: model.creation_timestamp, default=None)


def run_to_continue(client: "MlflowClient", params: Params, stage: str, recorded: str, locks: ExitStack) -> "Run | None":
    """Returns the run that `stage` should log to, or None if it needs a new one. The run stays locked until `locks` is closed.

    recorded: id of the run that produced the stage's inputs. `evaluate` takes the first run of that classifier that has not been
    evaluated, or was evaluated with the same settings, and is not locked. `export` and `report` wait for the lock.
    """
    for found in _candidates(client, params, recorded):
        lock = _lock(found.info.run_id, stage)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if stage == "evaluate":
                continue
            say(f"waiting for another process, which is at {stage} of MLflow run {found.info.run_name} ({found.info.run_id})")
            lock.acquire(poll_interval=POLL)
        locks.callback(lock.release)
        if stage != "evaluate":
            return found
        found = client.get_run(found.info.run_id)  # as it is now that no other process can change it
        if _can_be_evaluated(found, params):
            return found
        locks.close()
    return None


def evaluation_params(params: Params) -> dict[str, str]:
    """The settings of evaluation, as MLflow stores them."""
    return {name: value[:PARAM_LENGTH] for name, value in param_values(params).items() if name.startswith("evaluate.")}


def _candidates(client: "MlflowClient", params: Params, recorded: str) -> Iterator["Run"]:
    """The run `recorded`, then those that were made from it, the oldest first."""
    first = find_run(client, recorded)
    if first is not None:
        yield first
    experiments = {experiment_id(client, params.tracking.experiment or params.data.name)}
    experiments |= set() if first is None else {first.info.experiment_id}
    for tag in (FINETUNED_BY, RESTORED_FROM):
        yield from client.search_runs(sorted(experiments), f"tags.`{tag}` = '{recorded}'", order_by=["attributes.start_time ASC"])


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
    return is_running(owner) is False  # None: a process on another machine, which cannot be seen and may still be evaluating


def _lock(run_id: str, stage: str) -> FileLock:
    """Held by the process that runs `stage` on a run; the system releases it however that process ends."""
    folder = repository_root() / ".cache" / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{run_id}.{stage}.lock", thread_local=False)
