"""What a comparison knows of one model: its predictions, and where present its parameters, costs and clips.

Invariants: only predictions are needed; what else is absent is left out. Metrics are not read but to see that they belong to the
predictions: all scores follow from the predictions of the clips that the models share.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.artifacts import (
    CLASSIFIER,
    EXPORT_RESULTS,
    HISTORY,
    MANIFEST,
    METRICS,
    PREDICTIONS,
    RUN,
    ClassifierDescription,
    ExportRow,
    Metrics,
    RunRecord,
    read_export,
)
from pipeline.console import UserError, say, without_credentials
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.params import PARAMS_FILE
from pipeline.tracking.provenance import flatten, mlflow_name

DESCRIPTION = CLASSIFIER / "classifier.json"
FILES = (PREDICTIONS, METRICS, RUN, HISTORY, EXPORT_RESULTS, DESCRIPTION, PARAMS_FILE, MANIFEST)
CONTENTS = ("clip", "group", "split", "sha256", "start", "end")
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Cost:
    """What a model costs; None and empty where it is not recorded.

    Attributes:
      parameters: weights, without the moving statistics of batch norm.
      training_seconds: of finetune, without the features of a frozen backbone.
      trained: what was trained, e.g. `probe`. fed: what the model is fed with.
      exports: a row a file.
    """

    parameters: int | None = None
    training_seconds: float | None = None
    trained: str = ""
    fed: str = ""
    exports: tuple[ExportRow, ...] = ()


@dataclass(frozen=True)
class ModelResults:
    """The results of one model.

    Attributes:
      label: by which the comparison names it. read_as: what its name was taken for.
      params: dotted name to value, as text; empty where there are none.
      experiment: of MLflow, to which its run belongs; empty if unknown.
      contents: the columns clip, group, split, sha256, start and end of its manifest; None if absent.
    """

    label: str
    read_as: str
    predictions: Predictions
    params: dict[str, str]
    cost: Cost
    experiment: str = ""
    contents: pd.DataFrame | None = None


def find_file(folder: Path, path: Path) -> Path | None:
    """An artifact in a folder that is laid out like the repository, or that holds all files next to predictions.csv."""
    found = folder / path.name if (folder / PREDICTIONS.name).exists() else folder / path
    return found if found.exists() else None


def holds_results(folder: Path) -> bool:
    return find_file(folder, PREDICTIONS) is not None


def read_results(folder: Path, label: str, read_as: str) -> ModelResults:
    """Reads the results in a folder (see `find_file`).

    Raises:
      UserError: no predictions, a file that cannot be read, or metrics that are of other predictions.
    """
    with _named(label, folder):
        predictions = read_predictions(find_file(folder, PREDICTIONS) or folder / PREDICTIONS)
        metrics = find_file(folder, METRICS)
        if metrics is not None:
            _check_metrics(Metrics.read(metrics), predictions)
        run = find_file(folder, RUN)
        record = None if run is None else RunRecord.read(run)
        manifest = find_file(folder, MANIFEST)
        params = find_file(folder, PARAMS_FILE)
        return ModelResults(
            label,
            read_as,
            predictions,
            {} if params is None else _read_params(params),
            _read_cost(folder, record, label),
            "" if record is None else record.experiment,
            None if manifest is None else _read_contents(manifest, label),
        )


def parameter_texts(content: dict[str, Any]) -> dict[str, str]:
    """Nested parameters as dotted name to text, as MLflow's runs hold them: equal values have equal texts."""
    return {mlflow_name(name): parameter_text(value) for name, value in flatten(content).items()}


def parameter_text(value: Any) -> str:
    """Equal for equal values, whether of YAML (5, 5.0) or as MLflow stores it ("5.0")."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return without_credentials(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _read_params(path: Path) -> dict[str, str]:
    """Without the schema, so that those of another version can be read too."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected sections such as data: and model:, found {type(content).__name__}")
    return parameter_texts(content)


def _read_contents(path: Path, label: str) -> pd.DataFrame | None:
    """Without the schema, as only some columns are needed, and only for warnings."""
    manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in CONTENTS if name not in manifest]
    if missing:
        say(f"{label}: {path.name} lacks the column {missing[0]}, so the content of its clips is not compared")
        return None
    return manifest[list(CONTENTS)]


def _read_cost(folder: Path, run: RunRecord | None, label: str) -> Cost:
    path, history, export = (find_file(folder, name) for name in (DESCRIPTION, HISTORY, EXPORT_RESULTS))
    description = None if path is None else ClassifierDescription.read(path)
    rows = [] if export is None else read_export(export)
    if run is not None and any(row.run_id not in (None, run.run_id) for row in rows):
        say(f"{label}: {EXPORT_RESULTS.name} is of another run, so its exported files are left out")
        rows = []
    return Cost(
        parameters=None if description is None else description.parameters,
        training_seconds=None if history is None else _training_seconds(history),
        trained="" if description is None else description.trainable,
        fed="" if description is None else _describe_input(description),
        exports=tuple(rows),
    )


def _describe_input(description: ClassifierDescription) -> str:
    of = description
    views = "1 view" if of.views == 1 else f"{of.views} views"
    return f"{views} of {of.count} frames at {of.fps:g} a second, {of.size} x {of.size} pixels"


def _training_seconds(path: Path) -> float:
    history = pd.read_csv(path)
    if "seconds" not in history:
        raise UserError(f"{path}: lacks the column seconds", advice="run `dvc repro finetune`")
    return float(history["seconds"].sum())


def _check_metrics(metrics: Metrics, predictions: Predictions) -> None:
    test = predictions.of("test")
    top1 = float((test.predicted == test.labels).mean()) if len(test) else 0.0
    if len(test) != metrics.test.clips or abs(top1 - metrics.test.top1) > _TOLERANCE:
        raise UserError(
            f"{METRICS.name} and {PREDICTIONS.name} are of different runs: test top-1 {metrics.test.top1:.4f} of "
            f"{metrics.test.clips} clips and {top1:.4f} of {len(test)}",
            advice="run `dvc repro evaluate`, or give the folder of one run",
        )


@contextmanager
def _named(label: str, folder: Path) -> Iterator[None]:
    """Puts the model's name before an error, in the place of the folder that its files were read from."""
    try:
        yield
    except UserError as error:
        message = error.message.replace(f"{folder}/", "")
        raise UserError(f"{label}: {message}", advice=error.advice) from None
