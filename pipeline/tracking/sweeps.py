"""A sweep in MLflow: one run for the whole, its trials nested under it, and the alias of the best.

Invariants: a trial stands under each sweep that has it exactly once. Its stages make their runs there by themselves
(provenance.PARENT_VARIABLE); one whose stages came from DVC's cache is copied there from the run that computed it.
"""

from typing import Any

from pipeline.console import without_credentials
from pipeline.params import Params
from pipeline.tracking.lookup import SWEEP, find_run
from pipeline.tracking.provenance import param_values, run_tags
from pipeline.tracking.runs import AS_TAGS, STAGES, Run, _continue
from pipeline.tracking.store import experiment_id, not_found, open_client, readable_errors

SWEEP_KEY, TRIAL, RESTORED = "sweep.key", "sweep.trial", "sweep.restored_from"
CHAMPION = "champion"
OWN_TAGS = ("mlflow.", "stage.", "sweep.", "dvc.", "error", "finetuned_by", "restored_from")  # of one run, not to be copied


def open_sweep(params: Params, name: str, key: str, tags: dict[str, str], values: dict[str, str]) -> Run:
    """The sweep's run, running: the one that an earlier start with the same `key` made, else a new one.

    params: of any trial; they name the experiment. values: logged as parameters of a new run.
    """
    client = open_client()
    experiment = params.tracking.experiment or params.data.name
    with readable_errors(client.tracking_uri):
        place = experiment_id(client, experiment)
        found = client.search_runs([place], f"tags.`{SWEEP_KEY}` = '{key}'", max_results=1)
        if found:
            run = _continue(client, found[0])
        else:
            kept = {tag: value for tag, value in run_tags(params, "sweep").items() if tag not in ("model", "trainable")}
            created = client.create_run(place, tags=kept | tags | {SWEEP_KEY: key}, run_name=name)
            run = Run(created.info.run_id, name, experiment, client.tracking_uri, "begun", client)
            run.log_params(values)
    return run


def end_sweep(run_id: str, status: str) -> None:
    """Gives the sweep's run its status: FINISHED, FAILED or KILLED."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        client.set_terminated(run_id, status)


def close_killed_sweep(run_id: str) -> None:
    """Gives the sweep's run the status KILLED where the sweep did not live to give it one."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")


def run_of(run_id: str) -> Run:
    """The run `run_id` of the configured store as an open one, whatever its status."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        found = client.get_run(run_id)
        experiment = client.get_experiment(found.info.experiment_id).name
    return Run(run_id, found.info.run_name, experiment, client.tracking_uri, "continued", client)


def nest_trial(
    parent: str, trial: str, computed: str, params: Params, metrics: dict[str, Any], extra: dict[str, str], objective: float
) -> Run:
    """The trial's run under the sweep's run `parent`.

    Args:
      computed: the run that the trial's evaluation noted. Where it stands under `parent` already it is the trial's; else a copy
        is made with its parameters, metrics, their history and data sets, tag `sweep.restored_from`.
      metrics: content of metrics.json, for where that run is on another store.
      extra: parameters to add where the run has no such name: what was varied, as it was given.
      objective: logged as metric `objective`, for comparing.
    """
    client = open_client()
    with readable_errors(client.tracking_uri):
        old = find_run(client, computed)
        place = client.get_run(parent).info.experiment_id
        if old is not None and old.data.tags.get(SWEEP) == parent:
            run_id, name = old.info.run_id, old.info.run_name
        else:
            run_id, name = _copied(client, place, parent, trial, computed, old, params, metrics), trial
        run = Run(run_id, name, client.get_experiment(place).name, client.tracking_uri, "continued", client)
        known = client.get_run(run_id).data
        run.log_params({key: value for key, value in extra.items() if key not in known.params})
        run.set_tags({TRIAL: trial})
        if known.metrics.get("objective") != objective:
            run.log_metrics({"objective": objective})
    return run


def is_restored(run: Run) -> bool:
    with readable_errors(run.tracking_uri):
        return RESTORED in run.client.get_run(run.run_id).data.tags


def _copied(client, place: str, parent: str, trial: str, computed: str, old, params: Params, metrics: dict[str, Any]) -> str:
    """The id of the finished copy; one that an earlier start left unfinished is deleted."""
    for found in client.search_runs([place], f"tags.`{SWEEP}` = '{parent}' and tags.`{TRIAL}` = '{trial}'"):
        if found.info.status == "FINISHED" and found.data.tags.get(RESTORED) == computed:
            return found.info.run_id
        if RESTORED in found.data.tags:
            client.delete_run(found.info.run_id)
    tags = {SWEEP: parent, TRIAL: trial, RESTORED: computed, "mlflow.source.name": "commands.sweep"}
    tags |= {"mlflow.note.content": f"Restored from DVC's cache; computed by run {computed}."}
    source = run_tags(params, "sweep") if old is None else old.data.tags
    tags |= {name: value for name, value in source.items() if not name.startswith(OWN_TAGS)}
    run = Run(client.create_run(place, tags=tags, run_name=trial).info.run_id, trial, "", client.tracking_uri, "restored", client)
    if old is None:
        run.log_params({name: value for name, value in param_values(params).items() if not name.startswith(AS_TAGS)})
        run.log_metrics(metrics)
    else:
        run.log_params(dict(old.data.params))
        run.log_inputs(old.inputs.dataset_inputs)
        names = sorted(name for name in old.data.metrics if not name.startswith(("system/", "cost/")) and name != "objective")
        run.log_points([point for name in names for point in client.get_metric_history(old.info.run_id, name)])
    run.set_tags({f"stage.{stage}": "done" for stage in STAGES})
    client.set_terminated(run.run_id, "FINISHED")
    return run.run_id


def set_champion(model_run: str) -> str | None:
    """Points the alias `champion` at the model version that the run `model_run` registered; gives `<name> version <n>`."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        versions = client.search_model_versions(f"run_id = '{model_run}'")
        if not versions:
            return None
        newest = max(versions, key=lambda version: int(version.version))
        client.set_registered_model_alias(newest.name, CHAMPION, newest.version)
        return f"{newest.name} version {newest.version}"


def champion_of(name: str) -> str | None:
    """The version of the registered model `name` that is champion; None without."""
    from mlflow import MlflowException

    try:
        return str(open_client().get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if not_found(error):
            return None
        raise


def shown_uri() -> str:
    return without_credentials(open_client().tracking_uri)
