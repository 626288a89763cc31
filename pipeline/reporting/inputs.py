"""The input files of a report, checked against each other, and values that several figures and tables share.

Invariants: only these files are read, and they belong to one run (same classes, same clips). A results folder that mixes two runs
is refused, because its report would be believed.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts import Decision, ExportRow, FramesSummary, HeldOutClasses, Metrics, RunRecord, read_export
from pipeline.console import UserError, say
from pipeline.evaluation import metrics as scoring
from pipeline.evaluation.decision import Answers, find_answers
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.evaluation.suspects import COLUMNS, read_suspects
from pipeline.reporting.strips import ClipPictures
from pipeline.settings import Evaluate, Report
from pipeline.sources.manifest import duplicated_across, identical_across, leaking_groups, read_manifest
from pipeline.tracking.environment import environment

_HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds")


class Leaks(NamedTuple):
    """What the test split shares with training and validation; anything here makes the test scores too good.

    Attributes:
      groups: that have clips on both sides. test_groups: number of all groups in test.
      test_clips: number of test clips in `groups`.
      duplicates: pairs (training or validation clip, test clip) with the same frames: identical files, or overlapping segments.
      near_duplicates: such pairs that show the same otherwise: re-encoded, resized, mirrored or trimmed.
    """

    groups: list[str]
    test_groups: int
    test_clips: int
    duplicates: list[tuple[str, str]]
    near_duplicates: list[tuple[str, str]]


@dataclass(frozen=True)
class ReportInputs:
    """What earlier stages wrote, and the settings of the report.

    Attributes:
      history: a row per epoch. test: the predictions of the test clips. export: empty without an export of this run.
      held_out: its `reason` says why no class was held out.
      suspects: suspects.csv, the clips whose label may be wrong; empty where an earlier version evaluated.
    """

    manifest: pd.DataFrame
    frames: FramesSummary
    metrics: Metrics
    history: pd.DataFrame
    run: RunRecord
    test: Predictions
    held_out: HeldOutClasses
    export: list[ExportRow]
    evaluate: Evaluate
    settings: Report
    clips: ClipPictures
    suspects: pd.DataFrame

    @property
    def classes(self) -> list[str]:
        return self.test.classes

    @cached_property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept: the first with the lowest validation loss; the last where nothing was validated."""
        losses = self.history["validation_loss"]
        return int(self.history["epoch"][losses.idxmin() if losses.notna().any() else self.history.index[-1]])

    @property
    def decision(self) -> Decision | None:
        """When a prediction is unknown; None where an earlier version trained the classifier."""
        return self.metrics.decision

    @cached_property
    def background(self) -> int | None:
        """Label of the background class; None if there is none."""
        named = None if self.decision is None else self.decision.background
        return None if named is None else self.classes.index(named)

    @cached_property
    def answers(self) -> Answers:
        return find_answers(self.test.probabilities, self.background)

    @property
    def is_probe(self) -> bool:
        """Whether the history is of the penalties of a probe, not of epochs."""
        return "penalty" in self.history

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        return scoring.confusion_matrix(self.test.labels, self.test.predicted, len(self.classes))

    @cached_property
    def confused_pairs(self) -> pd.DataFrame:
        return scoring.most_confused_pairs(self.confusion_matrix, self.classes, self.settings.confused_pairs)

    @cached_property
    def leaks(self) -> Leaks:
        groups = leaking_groups(self.manifest)
        tested = self.manifest.loc[self.manifest["split"] == "test", "group"]
        same = identical_across(self.manifest)
        near = sorted(set(duplicated_across(self.manifest)) - set(same))
        return Leaks(groups, tested.nunique(), int(tested.isin(groups).sum()), same, near)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the report is made with; `run.environment` is what the classifier was trained with."""
        return environment()

    @property
    def majority_share(self) -> float:
        """The top-1 accuracy of always predicting the largest class, the baseline that a score has to beat.

        The largest class of training; where an earlier version evaluated the classifier, that of test.
        """
        if self.metrics.baselines is not None:
            return self.metrics.baselines.largest_class.top1
        return float(np.bincount(self.test.labels).max() / len(self.test))


def read_inputs(
    data: Path, results: Path, evaluate: Evaluate, settings: Report, *, export: list[ExportRow] | None = None
) -> ReportInputs:
    """Reads manifest.csv and frames/frames.json of `data`; metrics.json, predictions.csv, history.csv, run.json of `results`.

    Also suspects.csv, unless an earlier version evaluated; held_out.json and the folder clips, where there are any; and
    export.json, where it belongs to the same run, unless its rows are given as `export`.

    Raises:
      UserError: a file is absent, broken, incomplete or from another run. Validation may be missing from them; test may not.
    """
    data, results = Path(data), Path(results)
    manifest = read_manifest(data / "manifest.csv")
    frames = FramesSummary.of(data / "frames")
    metrics = Metrics.read(results / "metrics.json")
    history = _read_history(results / "history.csv")
    run = RunRecord.read(results / "run.json")
    predictions = read_predictions(results / "predictions.csv")
    if export is None:
        export = _read_export(results / "export.json", run.run_id)
    held_out = HeldOutClasses(reason="results/held_out.json was not made")
    if (results / "held_out.json").exists():
        held_out = HeldOutClasses.read(results / "held_out.json")
    _check_same_run(manifest, frames, metrics, predictions, data, results)
    test = predictions.of("test")
    clips = ClipPictures.read(results / "clips", test)
    suspects = _read_suspects(results / "suspects.csv", metrics, manifest)
    return ReportInputs(manifest, frames, metrics, history, run, test, held_out, export, evaluate, settings, clips, suspects)


def _read_suspects(path: Path, metrics: Metrics, manifest: pd.DataFrame) -> pd.DataFrame:
    if metrics.label_errors is None:
        return pd.DataFrame(columns=COLUMNS)
    suspects = read_suspects(path)
    if len(suspects) != metrics.label_errors.suspects or not suspects["clip"].isin(manifest["clip"]).all():
        message = f"{path}: its clips are not those that metrics.json and manifest.csv know: they come from different runs"
        raise UserError(message, advice="run `dvc repro`")
    return suspects


def _read_history(path: Path) -> pd.DataFrame:
    try:
        history = pd.read_csv(path, encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="run `dvc repro`, which makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, ValueError) as error:
        message = f"{path}: not a readable CSV file ({' '.join(str(error).split())})"
        raise UserError(message, advice="run `dvc repro`") from None
    missing = [name for name in _HISTORY if name not in history.columns]
    if missing:
        raise UserError(f"{path}: lacks the column {missing[0]}", advice="run `dvc repro`")
    if history.empty:
        raise UserError(f"{path}: no epochs", advice="run `dvc repro finetune`")
    return history


def _read_export(path: Path, run_id: str) -> list[ExportRow]:
    """The rows that `export` wrote, if it has run and they are of this run; none otherwise."""
    rows = read_export(path) if path.exists() else []
    if any(row.run_id != run_id for row in rows):
        say(f"{path}: of another run, so the page leaves the exported files out; `dvc repro export`, then report again")
        return []
    return rows


def _check_same_run(
    manifest: pd.DataFrame, frames: FramesSummary, metrics: Metrics, predictions: Predictions, data: Path, results: Path
) -> None:
    file = results / "predictions.csv"
    if frames.classes != predictions.classes:
        message = f"{file}: its classes are not those of {data}/frames/frames.json: they come from different runs"
        raise UserError(message, advice="run `dvc repro`")
    unknown = np.setdiff1d(predictions.clips, manifest["clip"].to_numpy(dtype=str))
    if unknown.size:
        message = f"{file}: {unknown.size} clips are not in {data}/manifest.csv, first {unknown[0]}"
        raise UserError(message, advice="run `dvc repro`")
    for split, scores in (("test", metrics.test), ("validation", metrics.validation)):
        scored, predicted = scores.clips if scores else 0, len(predictions.of(split))
        if scored != predicted:
            message = f"{results}/metrics.json: {split} scores are of {scored} clips, predictions.csv has {predicted}"
            raise UserError(message, advice="run `dvc repro evaluate`")
