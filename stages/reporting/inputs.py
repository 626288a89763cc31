"""The files a report is made of, read and checked against each other before anything is drawn.

What always holds: nothing but these files is read, and they belong to one run: same classes, same clips. A results folder that
mixes two runs is refused, because its report would be believed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.console import UserError
from stages.evaluation.predictions import Predictions, read_predictions
from stages.files import read_json
from stages.sources.manifest import read_manifest

_HISTORY = (
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
)
_SCORES = ("top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high")
_SCORES += ("macro_f1", "macro_f1_low", "macro_f1_high", "log_loss", "ece", "clips", "groups")


@dataclass(frozen=True)
class Inputs:
    """What earlier stages left behind."""

    manifest: pd.DataFrame
    frames: dict  # frames.json
    metrics: dict  # metrics.json
    history: pd.DataFrame  # a row an epoch
    run: dict  # results/run.json
    test: Predictions
    validation: Predictions  # may be empty

    @property
    def classes(self) -> list[str]:
        return self.test.classes


def _read_csv(path: Path, columns: tuple[str, ...], **options) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, encoding="utf-8", **options)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro`, which makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError) as error:
        raise UserError(f"{path}: not a readable CSV file ({' '.join(str(error).split())}); run `dvc repro`") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(f"{path}: lacks the column {missing[0]}; run `dvc repro`")
    return frame


def _require(content: dict, keys: tuple[str, ...], path: Path, where: str = "") -> None:
    missing = [key for key in keys if key not in content]
    if missing:
        raise UserError(f"{path}: lacks {where}{missing[0]}; run `dvc repro`")


def _check_belongs_together(inputs: Inputs, predictions: Predictions, results: Path, data: Path) -> None:
    if inputs.frames["classes"] != predictions.classes:
        raise UserError(
            f"{results}/predictions.csv: its classes are not those of {data}/frames/frames.json: they come from different runs; "
            "run `dvc repro`"
        )
    unknown = np.setdiff1d(predictions.clips, inputs.manifest["clip"].to_numpy(dtype=str))
    if unknown.size:
        raise UserError(
            f"{results}/predictions.csv: {unknown.size} clips are not in {data}/manifest.csv, first {unknown[0]}; run `dvc repro`"
        )
    for split, part in (("test", inputs.test), ("validation", inputs.validation)):
        claimed = inputs.metrics.get(split, {}).get("clips", 0)
        if claimed != len(part):
            raise UserError(
                f"{results}/metrics.json: {split} rests on {claimed} clips, predictions.csv has {len(part)}; "
                "run `dvc repro evaluate`"
            )


def read_inputs(data: Path, results: Path) -> Inputs:
    """Reads manifest.csv and frames/frames.json of `data`; metrics.json, predictions.csv, history.csv, run.json of `results`.

    Raises UserError where one is absent, broken, incomplete or from another run. A validation split may be absent; test may not.
    """
    data, results = Path(data), Path(results)
    manifest = read_manifest(data / "manifest.csv")
    frames = read_json(data / "frames/frames.json")
    _require(frames, ("classes", "fps", "size", "quality", "splits", "skipped"), data / "frames/frames.json")
    metrics = read_json(results / "metrics.json")
    _require(metrics, ("test",), results / "metrics.json")
    for split in ("test", "validation"):
        if split in metrics:
            _require(metrics[split], _SCORES, results / "metrics.json", f"{split}.")
    history = _read_csv(results / "history.csv", _HISTORY)
    if history.empty:
        raise UserError(f"{results}/history.csv: no epochs; run `dvc repro finetune`")
    run = read_json(results / "run.json")
    _require(run, ("run_id",), results / "run.json")
    predictions = read_predictions(results / "predictions.csv")
    inputs = Inputs(manifest, frames, metrics, history, run, predictions.of("test"), predictions.of("validation"))
    _check_belongs_together(inputs, predictions, results, data)
    return inputs
