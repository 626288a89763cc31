"""A run from finetune to report, across processes: begun, continued, and replaced where it cannot be continued.

What always holds: a run passes each stage at most once. A stage that runs again (its parameters changed, the stages before it
came from DVC's cache) gets a run of its own that starts from what the first had when it reached that stage.
"""

import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from stages.console import UserError, say, uninterrupted
from stages.files import read_json, write_json
from stages.params import Params
from stages.tracking.provenance import PARENT_VARIABLE, data_inputs, flatten, mlflow_name, param_values, run_tags
from stages.tracking.store import clear_errors, experiment_id, not_found, open_client, without_credentials

if TYPE_CHECKING:
    import mlflow.entities
    import pandas as pd
    from mlflow import MlflowClient

STAGES = ("finetune", "evaluate", "export", "report")
SAMPLING_SECONDS = 5  # of system metrics; short, for runs of a minute
# Of one request (mlflow.utils.validation).
BATCH_METRICS, BATCH_PARAMS, PARAM_LENGTH, TAG_LENGTH = 1000, 100, 6000, 8000


@dataclass(frozen=True)
class Run:
    """An open run; made by `begin_run` and `stage_run`.

    `origin` says how it came about: begun by finetune; continued; copied from a run that had been through this stage already;
    restored, which is empty but for parameters because its outputs were made elsewhere.
    """

    run_id: str
    name: str
    experiment: str
    tracking_uri: str
    origin: Literal["begun", "continued", "copied", "restored"]
    client: "MlflowClient" = field(repr=False)

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        """Logs numbers in one request. Nested dictionaries become `test/top1`; None and text are left out."""
        self._send([(name, value, step or 0) for name, value in flatten(metrics, "/").items()])

    def log_history(self, history: "pd.DataFrame") -> None:
        """Logs rows of `results/history.csv`, all or the latest, at step `epoch`: `validation_loss` as `validation/loss`,
        other columns as `train/<column>`."""
        points = []
        for row in history.to_dict("records"):
            for column, value in row.items():
                part, _, rest = column.partition("_")
                name = f"validation/{rest}" if part == "validation" else f"train/{column}"
                if column != "epoch":
                    points.append((name, value, int(row["epoch"])))
        self._send(points)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        with clear_errors(self.tracking_uri):
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_artifacts(self, directory: Path, folder: str | None = None) -> None:
        with clear_errors(self.tracking_uri):
            self.client.log_artifacts(self.run_id, str(directory), folder)

    def log_inputs(self, inputs: "list[mlflow.entities.DatasetInput]") -> None:
        with clear_errors(self.tracking_uri):
            self.client.log_inputs(self.run_id, datasets=inputs)

    def set_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        with uninterrupted(), clear_errors(self.tracking_uri):
            self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)[:TAG_LENGTH]) for key, value in tags.items()])

    def log_params(self, values: dict[str, str]) -> None:
        """Logs parameters; MLflow refuses a second, different value for a name."""
        from mlflow.entities import Param

        items = [Param(name, value[:PARAM_LENGTH]) for name, value in sorted(values.items())]
        with clear_errors(self.tracking_uri):
            for start in range(0, len(items), BATCH_PARAMS):
                self.client.log_batch(self.run_id, params=items[start : start + BATCH_PARAMS])

    def _send(self, points: list[tuple]) -> None:
        from mlflow.entities import Metric

        now = _now()
        metrics = [
            Metric(mlflow_name(name), float(value), now, step)
            for name, value, step in points
            if isinstance(value, (int, float)) and value == value  # NaN: no value in this epoch
        ]
        self.log_points(metrics)

    def logged_epochs(self) -> int:
        """The last epoch whose history is logged; 0 when none is."""
        with clear_errors(self.tracking_uri):
            return max((point.step for point in self.client.get_metric_history(self.run_id, "train/loss")), default=0)

    def log_points(self, metrics: list["mlflow.entities.Metric"]) -> None:
        with uninterrupted(), clear_errors(self.tracking_uri):
            for start in range(0, len(metrics), BATCH_METRICS):
                self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH_METRICS])


@contextmanager
def begin_run(params: Params, run_file: Path, note: Path | None = None) -> Iterator[Run]:
    """Finetune's run: parameters, provenance and data set logged at once; `run_file` written when the stage succeeds.

    Ends FINISHED, FAILED (tag `error`, artifact error.txt) or, on an interrupt, KILLED. `note`, a file kept with an unfinished
    training, holds the id of its run: where it exists that run goes on, so that a killed training and its resumption are one run.
    """
    client = open_client()
    inputs = data_inputs(params)
    with clear_errors(client.tracking_uri):
        old = _find(client, read_json(note)["run_id"]) if note is not None and note.exists() else None
        run = _create(params, "finetune", "begun", {}) if old is None else _continue(client, old)
    if note is not None:
        write_json(note, {"run_id": run.run_id})
    with _stage(run, "finetune", run_file), _system_metrics(run, params.tracking.system_metrics):
        if run.origin == "begun":
            run.log_params(_params_before(params, "evaluate"))
            run.log_inputs(inputs)
        yield run


@contextmanager
def stage_run(
    params: Params, stage: Literal["evaluate", "export", "report"], run_file: Path, new_run_file: Path | None = None
) -> Iterator[Run]:
    """The run named in `run_file`, or what takes its place; the id in use is written to `new_run_file` when the stage succeeds.

    - on this store, and not yet through this stage: continued;
    - through it already: a new run with its parameters, data set, metrics and their history up to this stage, tag `finetuned_by`;
    - not on this store (DVC restored outputs made elsewhere) or deleted: a new run with the parameters, tag `restored_from`.
    The stage's own section of the parameters is logged when it succeeds, for it may fail and be run again with other values.
    """
    old_id = read_json(run_file)["run_id"]
    client = open_client()
    with clear_errors(client.tracking_uri):
        old = _find(client, old_id)
        if old is None:
            run = _create(params, stage, "restored", {"restored_from": old_id})
        elif _taken(old, stage):
            run = _create(params, stage, "copied", {"finetuned_by": old_id})
        else:
            run = _continue(client, old)
    with _stage(run, stage, new_run_file):
        if run.origin == "restored":
            run.log_params(_params_before(params, stage))
        elif run.origin == "copied":
            _copy(old, run, stage)
        yield run
        run.log_params({name: value for name, value in param_values(params).items() if name.startswith(f"{stage}.")})


def _continue(client: "MlflowClient", old: "mlflow.entities.Run") -> Run:
    experiment = client.get_experiment(old.info.experiment_id).name
    client.update_run(old.info.run_id, status="RUNNING")
    if "error" in old.data.tags:
        client.delete_tag(old.info.run_id, "error")
    sweep = os.environ.get(PARENT_VARIABLE)
    if sweep and old.info.status != "FINISHED":  # what another sweep left unfinished belongs to the one that finishes it
        client.set_tag(old.info.run_id, "mlflow.parentRunId", sweep)
    return Run(old.info.run_id, old.info.run_name, experiment, client.tracking_uri, "continued", client)


def _create(params: Params, stage: str, origin: str, tags: dict[str, str]) -> Run:
    client = open_client()
    experiment = params.tracking.experiment or params.data.name
    tags = run_tags(params, stage) | tags
    name = tags.get("dvc.exp.name")
    created = client.create_run(experiment_id(client, experiment), tags=tags, run_name=name)
    run_id = created.info.run_id
    if name is None:
        name = f"{params.model.id}-{params.finetune.trainable}-{run_id[:6]}"
        client.update_run(run_id, name=name)
    say(f"MLflow run {name} ({run_id}) of experiment {experiment} at {without_credentials(client.tracking_uri)}")
    return Run(run_id, name, experiment, client.tracking_uri, origin, client)


def _params_before(params: Params, stage: str) -> dict[str, str]:
    """The parameters less the sections of this stage and those after it, which those stages log."""
    later = tuple(f"{name}." for name in STAGES[STAGES.index(stage) :])
    return {name: value for name, value in param_values(params).items() if not name.startswith(later)}


def _find(client: "MlflowClient", run_id: str) -> "mlflow.entities.Run | None":
    from mlflow import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if not_found(error):
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _taken(run: "mlflow.entities.Run", stage: str) -> bool:
    """Whether the run has been through the stage, or another living process is at it (which cannot be seen on other hosts)."""
    state = run.data.tags.get(f"stage.{stage}")
    if state is None or run.info.status in ("FAILED", "KILLED"):
        return state == "done"
    host, _, process = state.partition(":")
    return host != socket.gethostname() or psutil.pid_exists(int(process))


def _copy(old: "mlflow.entities.Run", run: Run, stage: str) -> None:
    """Parameters, data sets, and the history of what was logged before `stage` first began; not system metrics."""
    later = STAGES[STAGES.index(stage) :]
    run.log_params({name: value for name, value in old.data.params.items() if not name.startswith(tuple(f"{s}." for s in later))})
    run.log_inputs(old.inputs.dataset_inputs)
    began = int(old.data.tags[f"stage.{stage}.began"])
    points = []
    for name in sorted(name for name in old.data.metrics if not name.startswith("system/")):
        with clear_errors(run.tracking_uri):
            points += run.client.get_metric_history(old.info.run_id, name)
    run.log_points([point for point in points if point.timestamp < began])
    earlier = STAGES[: STAGES.index(stage)]
    run.set_tags({key: value for key, value in old.data.tags.items() if key.startswith(tuple(f"stage.{s}" for s in earlier))})


@contextmanager
def _stage(run: Run, stage: str, new_run_file: Path | None) -> Iterator[None]:
    """Marks the stage on the run, and gives the run its status when it ends."""
    run.set_tags({f"stage.{stage}": _owner(), f"stage.{stage}.began": _now()})
    try:
        yield
        if new_run_file is not None:
            uri = without_credentials(run.tracking_uri)
            write_json(new_run_file, {"run_id": run.run_id, "experiment": run.experiment, "tracking_uri": uri})
        run.set_tags({f"stage.{stage}": "done"})
        with clear_errors(run.tracking_uri):
            run.client.set_terminated(run.run_id, "FINISHED")
    except BaseException as error:
        _end_badly(run, stage, error)
        raise


def _end_badly(run: Run, stage: str, error: BaseException) -> None:
    """Records why a stage ended. Where even that fails the user is told, and the first error goes on."""
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    try:
        run.set_tags({"error": f"{stage}: {type(error).__name__}: {error}"})
        if status == "FAILED" and not isinstance(error, UserError):
            run.client.log_text(run.run_id, "".join(traceback.format_exception(error)), "error.txt")
        run.client.set_terminated(run.run_id, status)
    except Exception as second:
        say(f"MLflow run {run.run_id} could not be marked {status}: {' '.join(str(second).split())[:300]}")


@contextmanager
def _system_metrics(run: Run, wanted: bool) -> Iterator[None]:
    """CPU, memory, disk, network and (with nvidia-ml-py installed) GPU use, as `system/...`."""
    if not wanted:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run.run_id, sampling_interval=SAMPLING_SECONDS, tracking_uri=run.tracking_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def _now() -> int:
    return int(time.time() * 1000)
