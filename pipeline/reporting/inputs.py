"""The files a report is made of, read and checked against each other before anything is drawn.

Invariants: nothing but these files is read, and they belong to one run: same classes, same clips. A results folder that
mixes two runs is refused, because its report would be believed.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts import ExportRow, FramesSummary, Metrics, RunRecord, read_export
from pipeline.console import UserError, say
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.sources.manifest import read_manifest

_HISTORY = (
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
)


@dataclass(frozen=True)
class Inputs:
    """What earlier stages left behind."""

    manifest: pd.DataFrame
    frames: FramesSummary
    metrics: Metrics
    history: pd.DataFrame  # a row an epoch
    run: RunRecord
    test: Predictions
    validation: Predictions  # may be empty
    export: list[ExportRow] = field(default_factory=list)  # none without an export of this run

    @property
    def classes(self) -> list[str]:
        return self.test.classes


def _read_csv(path: Path, columns: tuple[str, ...], **options) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, encoding="utf-8", **options)
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="run `dvc repro`, which makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError) as error:
        message = f"{path}: not a readable CSV file ({' '.join(str(error).split())})"
        raise UserError(message, advice="run `dvc repro`") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(f"{path}: lacks the column {missing[0]}", advice="run `dvc repro`")
    return frame


def _check_belongs_together(inputs: Inputs, predictions: Predictions, results: Path, data: Path) -> None:
    if inputs.frames.classes != predictions.classes:
        raise UserError(
            f"{results}/predictions.csv: its classes are not those of {data}/frames/frames.json: they come from different runs",
            advice="run `dvc repro`",
        )
    unknown = np.setdiff1d(predictions.clips, inputs.manifest["clip"].to_numpy(dtype=str))
    if unknown.size:
        raise UserError(
            f"{results}/predictions.csv: {unknown.size} clips are not in {data}/manifest.csv, first {unknown[0]}",
            advice="run `dvc repro`",
        )
    for split, part in (("test", inputs.test), ("validation", inputs.validation)):
        scores = getattr(inputs.metrics, split)
        claimed = 0 if scores is None else scores.clips
        if claimed != len(part):
            raise UserError(
                f"{results}/metrics.json: {split} rests on {claimed} clips, predictions.csv has {len(part)}",
                advice="run `dvc repro evaluate`",
            )


def _read_export(path: Path, run_id: str) -> list[ExportRow]:
    """The rows that `export` wrote, if it has run and they are of this run; the page does without them otherwise."""
    if not path.exists():
        return []
    rows = read_export(path)
    if any(row.run_id != run_id for row in rows):
        say(f"{path}: of another run, so the page leaves the exported files out; `dvc repro export`, then report again")
        return []
    return rows


def read_inputs(data: Path, results: Path) -> Inputs:
    """Reads manifest.csv and frames/frames.json of `data`; metrics.json, predictions.csv, history.csv, run.json of `results`.

    And export.json, where there is one of the same run.

    Raises UserError where one is absent, broken, incomplete or from another run. A validation split may be absent; test may not.
    """
    data, results = Path(data), Path(results)
    manifest = read_manifest(data / "manifest.csv")
    frames = FramesSummary.of(data / "frames")
    metrics = Metrics.read(results / "metrics.json")
    history = _read_csv(results / "history.csv", _HISTORY)
    if history.empty:
        raise UserError(f"{results}/history.csv: no epochs", advice="run `dvc repro finetune`")
    run = RunRecord.read(results / "run.json")
    predictions = read_predictions(results / "predictions.csv")
    export = _read_export(results / "export.json", run.run_id)
    inputs = Inputs(manifest, frames, metrics, history, run, predictions.of("test"), predictions.of("validation"), export)
    _check_belongs_together(inputs, predictions, results, data)
    return inputs
