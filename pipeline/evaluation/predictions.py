"""Reads and writes results/predictions.csv, the predicted probabilities of every clip of a split.

Invariants: a row per clip; class names are text, also where they look like numbers or NA; the `p_` columns are in label order;
the predicted class is a most probable one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.console import UserError
from pipeline.evaluation.metrics import check_probabilities
from pipeline.files import atomic_file

_TEXT = ("clip", "group", "split", "actual", "predicted")
_PREFIX = "p_"
MISTAKES = 20  # that are shown of the surest ones
_ADVICE = "run `dvc repro evaluate`, which makes it again"


@dataclass(frozen=True)
class Predictions:
    """The content of predictions.csv, in its order.

    Attributes:
      classes: names, in label order.
      clips: str array of shape (n_clips,), paths relative to data/clips.
      groups, splits: str arrays of shape (n_clips,).
      labels, predicted: int64 arrays of shape (n_clips,), indices into `classes`.
      probabilities: float64 array of shape (n_clips, n_classes).
    """

    classes: list[str]
    clips: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    def of(self, split: str) -> "Predictions":
        """The rows of one split, possibly none."""
        rows = self.splits == split
        parts = (self.clips, self.groups, self.splits, self.labels, self.predicted, self.probabilities)
        return Predictions(self.classes, *(part[rows] for part in parts))

    def __len__(self) -> int:
        return len(self.clips)


def surest_mistakes(predictions: Predictions) -> np.ndarray:
    """The misclassified rows, int (n,): the highest probability of the predicted class first, ties by name of the clip."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    sureness = predictions.probabilities[wrong, predictions.predicted[wrong]]
    return wrong[np.lexsort((predictions.clips[wrong], -sureness))]


def predictions_frame(
    clips: Sequence[str],
    groups: Sequence[str],
    split: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """The predictions of one split in the columns of predictions.csv.

    Args:
      clips, groups: n_clips strings.
      split: of all these clips.
      labels: int array of shape (n_clips,), the actual classes.
      probabilities: float array of shape (n_clips, n_classes), each row sums to 1; written in its own precision.
      classes: n_classes distinct names, in label order.

    Raises:
      UserError: see `check_probabilities`.
      ValueError: the shapes do not match, or names repeat.
    """
    check_probabilities(probabilities)
    probabilities, names = np.asarray(probabilities), np.array(classes, dtype=object)
    if len(set(classes)) != len(classes) or probabilities.shape != (len(clips), len(classes)):
        raise ValueError(f"expected ({len(clips)}, {len(set(classes))} distinct classes), got {probabilities.shape}")
    # CSV files hold shortest round-trip decimals, which preserve order and ties, so the predicted class stays most probable.
    frame = pd.DataFrame(
        {
            "clip": list(clips),
            "group": list(groups),
            "split": split,
            "actual": names[np.asarray(labels)],
            "predicted": names[probabilities.argmax(1)],
        }
    )
    return pd.concat([frame, pd.DataFrame(probabilities, columns=[_PREFIX + name for name in classes])], axis=1)


def write_predictions(path: Path, *frames: pd.DataFrame) -> None:
    """Writes the frames of one or more splits to one file, whole or not at all."""
    with atomic_file(path) as part:
        pd.concat(frames, ignore_index=True).to_csv(part, index=False)


def read_predictions(path: Path) -> Predictions:
    """Reads and validates predictions.csv; raises UserError naming the file, the row and the problem."""
    try:
        frame = pd.read_csv(
            path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, float_precision="round_trip", encoding="utf-8"
        )
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="run `dvc repro`, which makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV file ({' '.join(str(error).split())})", advice=_ADVICE) from None
    missing = [name for name in _TEXT if name not in frame.columns]
    columns = [name for name in frame.columns if name.startswith(_PREFIX)]
    if missing or not columns:
        raise UserError(f"{path}: lacks the column {missing[0] if missing else _PREFIX + '<class>'}", advice=_ADVICE)
    try:
        probabilities = frame[columns].to_numpy(np.float64)
    except ValueError as error:
        raise UserError(f"{path}: a {_PREFIX} column has a value that is not a number ({error})", advice=_ADVICE) from None
    if len(frame):
        probabilities = check_probabilities(probabilities, str(path))
    classes = [name.removeprefix(_PREFIX) for name in columns]
    index = pd.Index(classes)
    labels, predicted = index.get_indexer(frame["actual"]), index.get_indexer(frame["predicted"])

    def refuse(bad: np.ndarray, problem: str) -> None:
        if bad.any():
            row = frame.iloc[int(np.argmax(bad))]
            raise UserError(f"{path}: {row['clip']}: {problem.format(**row[list(_TEXT)])}", advice=_ADVICE)

    refuse(labels < 0, "actual class {actual} has no " + _PREFIX + " column")
    refuse(predicted < 0, "predicted class {predicted} has no " + _PREFIX + " column")
    refuse(frame["clip"].duplicated().to_numpy(), "listed twice")
    largest = probabilities.max(1, initial=0)
    refuse(
        probabilities[np.arange(len(frame)), predicted] < largest,
        "predicted is {predicted}, which is not the most probable class",
    )
    text = (frame[name].to_numpy(dtype=str) for name in ("clip", "group", "split"))
    return Predictions(classes, *text, labels.astype(np.int64), predicted.astype(np.int64), probabilities)
