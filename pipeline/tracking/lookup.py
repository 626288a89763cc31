"""Which run a stage belongs to: the one it is told of, or one that was made from that.

Invariants: a run is one trained classifier, evaluated in one way. Evaluation in another way gets a run of its own, copied from
what training logged, with the tag `finetuned_by`; a run whose classifier was trained on another store has the tag
`restored_from`. Both tags are set last, so that a run that was cut off as it was made is never found by them.
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
    """The run of that id; None where the store has none, or a deleted one."""
    from mlflow import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if not_found(error):
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def run_to_continue(client: "MlflowClient", params: Params, stage: str, told: str, held: ExitStack) -> "Run | None":
    """The run that `stage` continues; None where it needs a new one. While `held` is open no other process here gets it as well.

    told: the id of the run that the stage's inputs come from. Evaluation takes the first run of that classifier that was not
    evaluated yet, or in the same way, and that nobody is evaluating. The stages after it may repeat on a run, one at a time.
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
