"""Opens located models: fetches their results from DVC or MLflow into a temporary folder where they are not in one already.

Invariants: the working copy is not changed, and nothing is written to what is read.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.artifacts import PREDICTIONS, ExportRow
from pipeline.comparison.names import Located
from pipeline.comparison.results import FILES, Cost, ModelResults, parameter_text, read_results
from pipeline.console import UserError, say
from pipeline.evaluation.predictions import read_predictions
from pipeline.revisions import open_files

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

AS_TAGS = ("export.", "report.")  # sections of the parameters that a run has as tags


def open_model(located: Located) -> ModelResults:
    """Raises UserError where results are absent or cannot be read."""
    if located.kind == "folder":
        return read_results(Path(located.address), located.label, located.read_as)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if located.kind == "run":
            return _read_run(located, folder)
        _fetch_revision(located, folder)
        return read_results(folder, located.label, located.read_as)


def _fetch_revision(located: Located, folder: Path) -> None:
    """Copies what a commit has of FILES."""
    from dvc.exceptions import DvcException, NotDvcRepoError

    try:
        files = open_files(located.address)
        for path in FILES:
            if files.exists(str(path)):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _get(files, path, folder / path, located)
    except NotDvcRepoError:
        raise UserError(
            f"{located.given}: {Path.cwd()} is not the root of a DVC repository, whose outputs are in no commit",
            advice="run this in the folder of dvc.yaml",
        ) from None
    except DvcException as error:
        raise UserError(f"{located.given} ({located.read_as}): {' '.join(str(error).split())[:300]}") from error
    if not (folder / PREDICTIONS).exists():
        raise UserError(
            f"{located.given} ({located.read_as}): has no {PREDICTIONS}",
            advice="`dvc repro` there and commit dvc.lock, or compare experiments",
        )


def _get(files, path: Path, copy: Path, located: Located) -> None:
    try:
        files.get_file(str(path), str(copy))
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
        problem = f"{located.given} ({located.read_as}): its {path} was not made, or is neither in DVC's cache nor in a remote"
        if path == PREDICTIONS:
            raise UserError(problem, advice="run it, or `dvc push` it where it was run") from None
        say(f"{problem}; left out")


def _read_run(located: Located, folder: Path) -> ModelResults:
    """The predictions that a run has as an artifact; parameters and costs are those that it logged."""
    from pipeline.tracking.store import open_client, readable_errors

    client = open_client()
    with readable_errors(client.tracking_uri):
        run = client.get_run(located.address)
        if PREDICTIONS.name not in {artifact.path for artifact in client.list_artifacts(located.address)}:
            experiment = run.data.tags.get("dvc.exp.name")
            advice = f"compare its DVC experiment, exp:{experiment}" if experiment else "`dvc repro evaluate` logs it"
            message = f"{located.given} ({located.read_as}): has no artifact {PREDICTIONS.name}"
            raise UserError(f"{message}: not evaluated, or by an earlier version", advice=advice)
        path = client.download_artifacts(located.address, PREDICTIONS.name, str(folder))
        seconds = [point.value for point in client.get_metric_history(located.address, "train/seconds")]
        experiment = client.get_experiment(run.info.experiment_id).name
    params = run.data.params | {name: value for name, value in run.data.tags.items() if name.startswith(AS_TAGS)}
    return ModelResults(
        located.label,
        located.read_as,
        read_predictions(Path(path)),
        {name: parameter_text(value) for name, value in params.items()},
        _logged_cost(run, seconds, params),
        experiment,
    )


def _logged_cost(run: "MlflowRun", seconds: list[float], params: dict[str, str]) -> Cost:
    metrics = run.data.metrics
    formats = dict.fromkeys(name.split("/")[1] for name in metrics if name.startswith("export/"))
    rows = []
    for form in formats:
        values = {name.split("/")[2]: value for name, value in metrics.items() if name.startswith(f"export/{form}/")}
        whole = {
            name: int(values[name]) for name in ("bytes", "clips", "groups", "frames", "threads", "state_bytes") if name in values
        }
        rows.append(ExportRow(**values | whole, format=form, file=form))
    parameters = metrics.get("cost/parameters")
    return Cost(
        parameters=None if parameters is None else int(parameters),
        training_seconds=sum(seconds) if seconds else None,
        trained=params.get("finetune.trainable", ""),
        exports=tuple(rows),
    )
