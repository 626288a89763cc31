"""A sweep in MLflow: one parent run, a nested run for each trial, and the alias of the best model.

Invariants: a trial has exactly one run under each sweep that contains it. If it is a DVC experiment, its stages log to that run
(provenance.PARENT_VARIABLE); if DVC restores all of them from the cache, the run is created from its parameters and metrics. A
trial that trains its top in a sweep's process has a `trial_run`, which the run of its experiment replaces once there is one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.artifacts import Metrics
from pipeline.params import Params
from pipeline.tracking.lookup import SWEEP, find_run
from pipeline.tracking.provenance import data_inputs, param_values, run_tags
from pipeline.tracking.runs import AS_TAGS, STAGES, Run, continue_run, record_failure
from pipeline.tracking.store import experiment_id, open_client, readable_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

SWEEP_KEY, TRIAL, RESTORED = "sweep.key", "sweep.trial", "sweep.restored_from"
CHAMPION = "champion"


def open_sweep(params: Params, name: str, key: str, tags: dict[str, str], values: dict[str, str]) -> Run:
    """Starts the sweep's run, or resumes the run of an earlier start with the same `key`.

    params: of any trial; they name the experiment. values: logged as parameters of a new run.
    """
    client = open_client()
    experiment = params.tracking.experiment or params.data.name
    with readable_errors(client.tracking_uri):
        experiment_number = experiment_id(client, experiment)
        found = client.search_runs([experiment_number], f"tags.`{SWEEP_KEY}` = '{key}'", max_results=1)
        if found:
            return continue_run(client, found[0])
        kept = {tag: value for tag, value in run_tags(params, "sweep").items() if tag not in ("model", "trainable")}
        created = client.create_run(experiment_number, tags=kept | tags | {SWEEP_KEY: key}, run_name=name)
    run = Run(created.info.run_id, name, experiment, client.tracking_uri, "begun", client)
    run.log_params(values)
    return run


def end_sweep(run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """Sets the final status of the sweep's run. Trials that still have none were killed with their launcher."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        experiment = client.get_run(run_id).info.experiment_id
        running = f"tags.`{SWEEP}` = '{run_id}' and attributes.status = 'RUNNING'"
        for trial in client.search_runs([experiment], running):
            client.set_terminated(trial.info.run_id, "KILLED")
        client.set_terminated(run_id, status)


def close_killed_sweep(run_id: str) -> None:
    """Marks the sweep's run as KILLED if the sweep was killed before it set a final status."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        is_running = client.get_run(run_id).info.status == "RUNNING"
    if is_running:
        end_sweep(run_id, "KILLED")


def open_run(run_id: str) -> Run:
    """Opens the run `run_id` of the configured store for logging, without a change of its status."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        found = client.get_run(run_id)
        experiment = client.get_experiment(found.info.experiment_id).name
    return Run(run_id, found.info.run_name, experiment, client.tracking_uri, "continued", client)


@contextmanager
def trial_run(parent: str, trial: str, params: Params, manifest: Path) -> Iterator[Run]:
    """A new run of a trial that trains in this process, under the sweep's run `parent`; an unfinished one of it is deleted.

    It has the parameters and the data set, whose manifest is given; it ends FINISHED, FAILED (tag `error`) or KILLED.
    """
    client = open_client()
    inputs = data_inputs(params, manifest)
    with readable_errors(client.tracking_uri):
        experiment = client.get_run(parent).info.experiment_id
        for found in _trial_runs(client, experiment, parent, trial):
            if found.info.status != "FINISHED":
                client.delete_run(found.info.run_id)
        tags = run_tags(params, "sweep") | {SWEEP: parent, TRIAL: trial, "mlflow.source.name": "commands.sweep"}
        run = open_run(client.create_run(experiment, tags=tags, run_name=trial).info.run_id)
    try:
        run.log_params({name: value for name, value in param_values(params).items() if not name.startswith(AS_TAGS)})
        run.log_inputs(inputs)
        yield run
        with readable_errors(client.tracking_uri):
            client.set_terminated(run.run_id, "FINISHED")
    except BaseException as error:
        record_failure(run, "trial", error)
        raise


def _trial_runs(client: "MlflowClient", experiment: str, parent: str, trial: str) -> list["MlflowRun"]:
    return client.search_runs([experiment], f"tags.`{SWEEP}` = '{parent}' and tags.`{TRIAL}` = '{trial}'")


def delete_run(run_id: str) -> None:
    client = open_client()
    with readable_errors(client.tracking_uri):
        client.delete_run(run_id)


def nest_trial(
    parent: str, trial: str, computed: str, params: Params, metrics: Metrics, varied: dict[str, str], objective: float
) -> tuple[str, Literal["computed", "restored"]]:
    """Returns the id of the trial's run under the sweep's run `parent`, and where its results come from.

    Args:
      computed: the run that the trial's evaluation logged to. If it is not under `parent`, a new run with the parameters and
        metrics is created there; its tag `sweep.restored_from` names `computed`.
      varied: the swept values as given on the command line, logged as parameters unless the run has parameters of that name.
      objective: logged as metric `objective`.
    """
    client = open_client()
    with readable_errors(client.tracking_uri):
        old = find_run(client, computed)
        is_computed = old is not None and old.data.tags.get(SWEEP) == parent
        run = open_run(computed if is_computed else _restore(client, parent, trial, computed, params, metrics))
        known = client.get_run(run.run_id).data
        run.log_params({key: value for key, value in varied.items() if key not in known.params})
        run.set_tags({TRIAL: trial})
        if known.metrics.get("objective") != objective:
            run.log_metrics({"objective": objective})
    return run.run_id, "computed" if is_computed else "restored"


def _restore(client: "MlflowClient", parent: str, trial: str, computed: str, params: Params, metrics: Metrics) -> str:
    """Creates the run of a restored trial if there is none; returns its id. Deletes an unfinished one of an interrupted start."""
    experiment = client.get_run(parent).info.experiment_id
    for found in _trial_runs(client, experiment, parent, trial):
        if found.info.status == "FINISHED" and found.data.tags.get(RESTORED) == computed:
            return found.info.run_id
        if RESTORED in found.data.tags:
            client.delete_run(found.info.run_id)
    tags = run_tags(params, "sweep") | {SWEEP: parent, TRIAL: trial, RESTORED: computed, "mlflow.source.name": "commands.sweep"}
    tags |= {f"stage.{stage}": "done" for stage in STAGES}
    tags |= {"mlflow.note.content": f"Restored from DVC's cache; computed by run {computed}, which has its history."}
    run = open_run(client.create_run(experiment, tags=tags, run_name=trial).info.run_id)
    run.log_params({name: value for name, value in param_values(params).items() if not name.startswith(AS_TAGS)})
    baselines = {} if metrics.baselines is None else {"baseline": metrics.baselines.top1_by_name()}
    run.log_metrics(metrics.model_dump(include={"test", "validation", "gain_over_probe"}) | baselines)  # as evaluate names them
    client.set_terminated(run.run_id, "FINISHED")
    return run.run_id


def set_champion(model_run: str) -> str | None:
    """Sets the alias `champion` to the model version that `model_run` registered; returns `<name> version <n>`."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        versions = client.search_model_versions(f"run_id = '{model_run}'")
        if not versions:
            return None
        newest = max(versions, key=lambda version: int(version.version))
        client.set_registered_model_alias(newest.name, CHAMPION, newest.version)
        return f"{newest.name} version {newest.version}"
