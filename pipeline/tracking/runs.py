"""A run from finetune to report, across processes: one trained classifier, evaluated in one way.

Invariants: whatever stage runs, whenever and however often, it logs to that one run (see lookup.py); the latest values count.
Parameters of MLflow cannot be changed, so the settings of the stages that may repeat on a run, export and report, are tags.
"""

import os
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from pipeline.artifacts import HeldOutClasses, Metrics, RunRecord
from pipeline.console import UserError, say, uninterrupted, without_credentials
from pipeline.params import Params
from pipeline.processes import identity
from pipeline.tracking.environment import environment
from pipeline.tracking.lookup import (
    FINETUNED_BY,
    RESTORED_FROM,
    SWEEP,
    evaluation_params,
    find_model,
    find_run,
    run_to_continue,
)
from pipeline.tracking.provenance import (
    PARAM_LENGTH,
    PARENT_VARIABLE,
    data_inputs,
    flatten,
    is_of_split,
    mlflow_name,
    param_values,
    run_tags,
)
from pipeline.tracking.store import experiment_id, lost_race, open_client, readable_errors
from pipeline.tracking.system_metrics import system_metrics

if TYPE_CHECKING:
    import mlflow.entities
    import pandas as pd
    from mlflow import MlflowClient

STAGES = ("finetune", "evaluate", "export", "report")
AS_TAGS = ("export.", "report.")  # sections of the parameters that are tags
# MLflow orders its charts by the first part of the names of metrics, so that accuracies come first under these names.
ACCURACIES = {"test/top1": "accuracy/test_top1", "validation/top1": "accuracy/validation_top1"}
# Of one request (mlflow.utils.validation).
BATCH_METRICS, BATCH_PARAMS, TAG_LENGTH = 1000, 100, 8000


@dataclass(frozen=True)
class Run:
    """An open run; made by `begin_run` and `stage_run`.

    `origin` states how it was opened: begun by finetune; continued; derived from the run of a training that was evaluated in
    another way; restored, because the stage's inputs were made on another tracking store. The last two start with parameters
    alone.
    """

    run_id: str
    name: str
    experiment: str
    tracking_uri: str
    origin: Literal["begun", "continued", "derived", "restored"]
    client: "MlflowClient" = field(repr=False)
    has_metrics: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def log_metrics(self, metrics: dict, step: int = 0) -> None:
        """Logs numbers in one request. Nested dictionaries become `test/top1`; None and text are left out."""
        self._log([(name, value, step) for name, value in flatten(metrics, "/").items()])

    def log_scores(self, split: Literal["validation", "test"], metrics: dict) -> None:
        """Logs numbers that were measured on a split, of the run's data set and of the model that it logged, where they exist."""
        with readable_errors(self.tracking_uri):
            stored = self.client.get_run(self.run_id)
            model = find_model(self.client, stored)
        data = next((item.dataset for item in stored.inputs.dataset_inputs if is_of_split(item, split)), None)
        links = {} if model is None else {"model_id": model.model_id, "run_id": self.run_id}
        links |= {} if data is None else {"dataset_name": data.name, "dataset_digest": data.digest}
        self._log([(name, value, 0) for name, value in flatten(metrics, "/").items()], links)

    def log_evaluation(self, metrics: Metrics, held_out: HeldOutClasses) -> None:
        """Logs the numbers that evaluate measured."""
        test = metrics.model_dump(include={"test", "gain_over_probe"}) | {"held_out": held_out.means()}
        if metrics.baselines is not None:
            test["baseline"] = metrics.baselines.top1_by_name()
        self.log_scores("test", test)
        self.log_scores("validation", metrics.model_dump(include={"validation"}))
        found = metrics.label_errors
        if found is not None and found.judged:
            self.log_metrics({"label_errors": {"suspects": found.suspects, "accuracy": found.accuracy}})

    def log_history(self, history: "pd.DataFrame") -> None:
        """Logs rows of `results/history.csv`, all or the latest, at step `epoch`: `validation_loss` as `validation/loss`,
        other columns as `train/<column>`."""
        points = []
        first = "validation_accuracy"  # MLflow's page that compares runs picks the metric that was logged first
        for row in history.to_dict("records"):
            for column, value in sorted(row.items(), key=lambda item: item[0] != first):
                part, _, rest = column.partition("_")
                name = f"validation/{rest}" if part == "validation" else f"train/{column}"
                if column != "epoch" and value == value:  # a probe has no learning rate
                    points.append((name, value, int(row["epoch"])))
        self._log(points)

    def logged_epochs(self) -> int:
        """The last epoch whose history is logged; -1 when none is."""
        with readable_errors(self.tracking_uri):
            return max((point.step for point in self.client.get_metric_history(self.run_id, "validation/loss")), default=-1)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        with readable_errors(self.tracking_uri):
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_artifacts(self, directory: Path, folder: str | None = None) -> None:
        with readable_errors(self.tracking_uri):
            self.client.log_artifacts(self.run_id, str(directory), folder)

    def log_inputs(self, inputs: "list[mlflow.entities.DatasetInput]") -> None:
        # MLflow looks a data set up and inserts it in two steps. A process that loses the race finds it on the next attempt.
        retrying = Retrying(retry=retry_if_exception(lost_race), stop=stop_after_attempt(1 + len(inputs)), reraise=True)
        with readable_errors(self.tracking_uri):
            retrying(self.client.log_inputs, self.run_id, datasets=inputs)

    def set_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        with uninterrupted(), readable_errors(self.tracking_uri):
            self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)[:TAG_LENGTH]) for key, value in tags.items()])

    def log_params(self, values: dict[str, str]) -> None:
        """Logs parameters; MLflow refuses a second, different value for a name."""
        from mlflow.entities import Param

        items = [Param(name, value[:PARAM_LENGTH]) for name, value in sorted(values.items())]
        with readable_errors(self.tracking_uri):
            for start in range(0, len(items), BATCH_PARAMS):
                self.client.log_batch(self.run_id, params=items[start : start + BATCH_PARAMS])

    def _log(self, points: list[tuple], links: dict[str, str] | None = None) -> None:
        """points: name, value and step each. links: arguments of `Metric` that name a model and a data set."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [(ACCURACIES[name], value, step) for name, value, step in points if name in ACCURACIES] + points
        metrics = [
            Metric(mlflow_name(name), float(value), now, step, **(links or {}))
            for name, value, step in points
            if isinstance(value, (int, float)) and value == value  # NaN: no value in this epoch
        ]
        with uninterrupted(), readable_errors(self.tracking_uri):
            for start in range(0, len(metrics), BATCH_METRICS):
                self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH_METRICS])
        if metrics:
            self.has_metrics.set()


@contextmanager
def begin_run(params: Params, run_file: Path, note: Path | None = None, gpus: Sequence[str] = ()) -> Iterator[Run]:
    """Finetune's run: parameters, provenance and data set logged at once; `run_file` written when the stage succeeds.

    `run_file` also holds what the classifier was trained with and on (see environment.py), as does the artifact
    environment.json; `gpus` names those that training uses.

    Ends FINISHED, FAILED (tag `error`, artifact error.txt) or, on an interrupt, KILLED. `note`, a file kept with an unfinished
    training, holds the id of its run: where it exists that run continues, so that a killed training and its resumption are one
    run.
    """
    client = open_client()
    inputs = data_inputs(params)
    with readable_errors(client.tracking_uri):
        old = find_run(client, RunRecord.read(note).run_id) if note is not None and note.exists() else None
        run = _create(params, "finetune", "begun") if old is None else continue_run(client, old)
    if note is not None:
        RunRecord(run_id=run.run_id).write(note)
    made_with = environment(gpus)
    sampled = system_metrics(client, run.run_id, run.has_metrics.is_set) if params.tracking.system_metrics else nullcontext()
    with _stage(run, "finetune", run_file, made_with), sampled:
        if run.origin == "begun":
            run.log_params(_params_before(params, "evaluate"))
            run.log_inputs(inputs)
        with readable_errors(run.tracking_uri):
            run.client.log_dict(run.run_id, made_with, "environment.json")
        yield run


@contextmanager
def stage_run(
    params: Params, stage: Literal["evaluate", "export", "report"], run_file: Path, new_run_file: Path | None = None
) -> Iterator[Run]:
    """The run named in `run_file`, or one in its stead, whose id is written to `new_run_file` when the stage succeeds.

    - on this store: continued, however often; but where it was evaluated in another way, or another process is evaluating it, a
      run of the same training that was evaluated in this way, or a new one with the parameters and data set (tag `finetuned_by`);
    - not on this store (DVC restored what was made elsewhere) or deleted: the run that an earlier stage made in its stead, or a
      new one with the parameters (tag `restored_from`).
    The stage's own section of the parameters is logged when it succeeds, for it may fail and be run again with other values.
    """
    record = RunRecord.read(run_file)
    client = open_client()
    with ExitStack() as locks:
        with readable_errors(client.tracking_uri):
            known = run_to_continue(client, params, stage, record.run_id, locks)
            old = find_run(client, record.run_id) if known is None else None
            if known is not None:
                run = continue_run(client, known)
            else:
                run = _create(params, stage, "restored" if old is None else "derived")
        with _stage(run, stage, new_run_file, record.environment):
            if run.origin != "continued":
                run.log_params(_params_before(params, stage))
                if old is not None:
                    run.log_inputs(old.inputs.dataset_inputs)
                    run.set_tags({"stage.finetune": "done"})
                run.set_tags({RESTORED_FROM if old is None else FINETUNED_BY: record.run_id})  # last: see lookup.py
            yield run
            if stage == "evaluate":
                run.log_params(evaluation_params(params))
            else:
                run.set_tags({name: value for name, value in param_values(params).items() if name.startswith(f"{stage}.")})


def continue_run(client: "MlflowClient", old: "mlflow.entities.Run") -> Run:
    """Opens an earlier run again; one that another sweep left unfinished moves to the sweep of this process."""
    experiment = client.get_experiment(old.info.experiment_id).name
    client.update_run(old.info.run_id, status="RUNNING")
    if "error" in old.data.tags:
        client.delete_tag(old.info.run_id, "error")
    sweep = os.environ.get(PARENT_VARIABLE)
    if sweep and old.info.status != "FINISHED":
        client.set_tag(old.info.run_id, SWEEP, sweep)
    run = Run(old.info.run_id, old.info.run_name, experiment, client.tracking_uri, "continued", client)
    if old.data.metrics:
        run.has_metrics.set()
    return run


def _create(params: Params, stage: str, origin: str) -> Run:
    client = open_client()
    experiment = params.tracking.experiment or params.data.name
    tags = run_tags(params, stage)
    name = tags.get("dvc.exp.name")
    run_id = client.create_run(experiment_id(client, experiment), tags=tags, run_name=name).info.run_id
    if name is None:
        name = f"{params.model.id}-{params.finetune.trainable}-{run_id[:6]}"
        client.update_run(run_id, name=name)
    say(f"MLflow run {name} ({run_id}) of experiment {experiment} at {without_credentials(client.tracking_uri)}")
    return Run(run_id, name, experiment, client.tracking_uri, origin, client)


def _params_before(params: Params, stage: str) -> dict[str, str]:
    """The parameters without the sections of this stage and those after it, which those stages log."""
    later = ("evaluate.", *AS_TAGS) if stage == "evaluate" else AS_TAGS
    return {name: value for name, value in param_values(params).items() if not name.startswith(later)}


@contextmanager
def _stage(run: Run, stage: str, new_run_file: Path | None, made_with: dict | None) -> Iterator[None]:
    """Marks the stage on the run, and gives the run its status when it ends. made_with: training's environment, where known."""
    run.set_tags({f"stage.{stage}": identity()})
    try:
        yield
        if new_run_file is not None:
            uri = without_credentials(run.tracking_uri)
            RunRecord(run_id=run.run_id, experiment=run.experiment, tracking_uri=uri, environment=made_with).write(new_run_file)
        run.set_tags({f"stage.{stage}": "done"})
        with readable_errors(run.tracking_uri):
            run.client.set_terminated(run.run_id, "FINISHED")
    except BaseException as error:
        record_failure(run, stage, error)
        raise


def record_failure(run: Run, stage: str, error: BaseException) -> None:
    """Records why a stage ended. Where even that fails the user reads so, and the first error is the one that is raised."""
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    try:
        run.set_tags({"error": f"{stage}: {type(error).__name__}: {error}"})
        if status == "FAILED" and not isinstance(error, UserError):
            run.client.log_text(run.run_id, "".join(traceback.format_exception(error)), "error.txt")
        run.client.set_terminated(run.run_id, status)
    except Exception as second:
        say(f"MLflow run {run.run_id} could not be marked {status}: {' '.join(str(second).split())[:300]}")
