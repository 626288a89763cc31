"""Runs for results that DVC restored from its cache: no stage ran, so no stage logged them.

Invariants: all that is logged is read from the results of a commit. A run is tagged `restored_from` once it has everything; later
stages continue it (see lookup.py). Results whose run is in the store, or was deleted there, are left as they are.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import yaml

from pipeline.artifacts import (
    CARD,
    HELD_OUT,
    HISTORY,
    MANIFEST,
    METRICS,
    PREDICTIONS,
    REPORT,
    RUN,
    SUSPECTS,
    HeldOutClasses,
    Metrics,
    RunRecord,
)
from pipeline.console import UserError, progress, say
from pipeline.git import query_git
from pipeline.params import Params, parse_params
from pipeline.revisions import Experiment, cache_folder, list_experiments, open_files, params_text
from pipeline.tracking.descriptions import add_model_card, describe
from pipeline.tracking.lookup import RESTORED_FROM
from pipeline.tracking.provenance import data_inputs, param_values, run_tags
from pipeline.tracking.runs import AS_TAGS, STAGES, Run, record_failure
from pipeline.tracking.store import experiment_id, not_found, open_client, readable_errors
from pipeline.tracking.sweeps import RESTORED

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = (METRICS, HISTORY, PREDICTIONS, HELD_OUT, SUSPECTS, MANIFEST)


class CachedResults(NamedTuple):
    """Results of a commit that are in DVC's cache. experiment: named "" for the current commit. record: of their run."""

    experiment: Experiment
    record: RunRecord


def find_cached_results() -> list[CachedResults]:
    """The results of the DVC experiments and of the current commit, those of one run once."""
    head = query_git("rev-parse", "--verify", "--quiet", "HEAD")
    if head is None or not Path("dvc.yaml").exists():
        return []
    found: dict[str, CachedResults] = {}
    for experiment in (*list_experiments(), Experiment("", head, head)):
        record = _read_record(experiment.commit)
        if record is not None:
            found.setdefault(record.run_id, CachedResults(experiment, record))
    return list(found.values())


def _read_record(commit: str) -> RunRecord | None:
    """results/run.json of a commit; None if it has none, or DVC's cache lacks it."""
    lock = yaml.load(query_git("show", f"{commit}:./dvc.lock") or "", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    outs = [out for stage in ((lock or {}).get("stages") or {}).values() for out in stage.get("outs", [])]
    digest = next((out["md5"] for out in outs if out["path"] == str(RUN)), None)
    path = None if digest is None else cache_folder() / "files" / "md5" / digest[:2] / digest[2:]
    return RunRecord.read(path) if path is not None and path.exists() else None


def log_missing(results: Iterable[CachedResults]) -> list[Run]:
    """Logs a run for each of the results that has none on the store; returns the new runs."""
    client = open_client()
    with readable_errors(client.tracking_uri):
        missing = [one for one in results if not _is_known(client, one.record.run_id)]
    if missing:
        say(f"{len(missing)} results were restored from DVC's cache, and their runs are not on this store: logging them")
    runs = []
    for one in progress(missing, describe="restored results", unit="run", disable=not missing):
        try:
            runs.append(_log(client, one))
        except (UserError, FileNotFoundError) as error:  # of an earlier version, or only in part in the cache
            say(f"{_name(one)}: no run was made of its results, which cannot be read here: {error}")
    return runs


def _is_known(client: "MlflowClient", run_id: str) -> bool:
    """Whether the run, or one that was made from it, is on the store or was deleted there."""
    from mlflow import MlflowException
    from mlflow.entities import ViewType

    try:
        client.get_run(run_id)
        return True
    except MlflowException as error:
        if not not_found(error):
            raise
    experiments = [one.experiment_id for one in client.search_experiments(view_type=ViewType.ALL)]
    return any(
        client.search_runs(experiments, f"tags.`{tag}` = '{run_id}'", run_view_type=ViewType.ALL, max_results=1)
        for tag in (RESTORED_FROM, RESTORED)
    )


def _name(one: CachedResults) -> str:
    return one.experiment.name or one.experiment.commit[:7]


def _log(client: "MlflowClient", one: CachedResults) -> Run:
    params = parse_params(yaml.safe_load(params_text(one.experiment.commit)), f"params.yaml of {_name(one)}")
    files = open_files(one.experiment.commit)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in FILES:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            files.get_file(str(path), str(folder / path))
        files.get(str(REPORT), str(folder / REPORT), recursive=True)
        run = _create(client, one, params)
        try:
            _log_results(run, one.record, params, folder)
        except BaseException as error:
            record_failure(run, "restore", error)
            raise
    with readable_errors(client.tracking_uri):
        client.set_terminated(run.run_id, "FINISHED")
    return run


def _create(client: "MlflowClient", one: CachedResults, params: Params) -> Run:
    experiment = params.tracking.experiment or params.data.name
    tags = {key: value for key, value in run_tags(params, "restore").items() if key not in ("git.dirty", "python", "tensorflow")}
    tags |= {"mlflow.source.name": "commands.ui", "mlflow.source.git.commit": one.experiment.base}
    if one.experiment.name:
        tags |= {"dvc.exp.name": one.experiment.name, "dvc.exp.baseline": one.experiment.base}
    with readable_errors(client.tracking_uri):
        made = client.create_run(experiment_id(client, experiment), tags=tags, run_name=f"{_name(one)} (restored)")
    return Run(made.info.run_id, made.info.run_name, experiment, client.tracking_uri, "restored", client)


def _log_results(run: Run, record: RunRecord, params: Params, folder: Path) -> None:
    import pandas as pd

    values, metrics = param_values(params), Metrics.read(folder / METRICS)
    run.log_params({name: value for name, value in values.items() if not name.startswith(AS_TAGS)})
    run.log_inputs(data_inputs(params, folder / MANIFEST))
    run.log_history(pd.read_csv(folder / HISTORY))
    run.log_evaluation(metrics, HeldOutClasses.read(folder / HELD_OUT))
    for path in (HELD_OUT, SUSPECTS, PREDICTIONS):
        run.log_artifact(folder / path)
    run.log_artifacts(folder / REPORT, "report")
    if record.environment is not None:
        run.client.log_dict(run.run_id, record.environment, "environment.json")
    run.set_tags({name: value for name, value in values.items() if name.startswith(AS_TAGS)})
    run.set_tags({f"stage.{stage}": "done" for stage in STAGES} | {RESTORED_FROM: record.run_id})
    describe(run, metrics)
    add_model_card(run, folder / REPORT / CARD)
