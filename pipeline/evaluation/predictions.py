"""results/predictions.csv: the one file that every later look at the results works from.

Invariants: a row a clip; class names are text, whatever they look like; the order of the `p_` columns is the order of the
labels; the predicted class is a most probable one.
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


@dataclass(frozen=True)
class Predictions:
    """Predictions of N clips over C classes, in the file's order."""

    classes: list[str]
    clips: np.ndarray  # str (N,), path relative to data/clips
    groups: np.ndarray  # str (N,)
    splits: np.ndarray  # str (N,)
    labels: np.ndarray  # int64 (N,), indices into classes
    predicted: np.ndarray  # int64 (N,)
    probabilities: np.ndarray  # float64 (N, C)

    def of(self, split: str) -> "Predictions":
        """Only the rows of one split; may be empty."""
        rows = self.splits == split
        parts = (self.clips, self.groups, self.splits, self.labels, self.predicted, self.probabilities)
        return Predictions(self.classes, *(part[rows] for part in parts))

    def __len__(self) -> int:
        return len(self.clips)


def predictions_frame(
    clips: Sequence[str],
    groups: Sequence[str],
    split: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """One split's predictions in the columns of predictions.csv.

    Args:
      clips, groups: (N,) text.
      split: of all these clips.
      labels: int (N,), the actual classes.
      probabilities: float (N, C), each row sums to 1; kept in its own precision.
      classes: C distinct names, in label order.
    """
    check_probabilities(probabilities)
    probabilities, names = np.asarray(probabilities), np.array(classes, dtype=object)
    if len(set(classes)) != len(classes) or probabilities.shape != (len(clips), len(classes)):
        raise ValueError(f"expected ({len(clips)}, {len(set(classes))} distinct classes), got {probabilities.shape}")
    # The file holds shortest round-trip decimals, which keep order and ties, so the predicted class survives the reading.
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
    """Writes the frames of one or more splits, one after the other, whole or not at all."""
    with atomic_file(path) as part:
        pd.concat(frames, ignore_index=True).to_csv(part, index=False)


def read_predictions(path: Path) -> Predictions:
    """Reads and checks predictions.csv; raises UserError naming the file, the row and what is wrong."""
    try:
        frame = pd.read_csv(
            path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, float_precision="round_trip", encoding="utf-8"
        )
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro`, which makes it") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV file ({' '.join(str(error).split())}); run `dvc repro evaluate`") from None
    missing = [name for name in _TEXT if name not in frame.columns]
    columns = [name for name in frame.columns if name.startswith(_PREFIX)]
    if missing or not columns:
        raise UserError(f"{path}: lacks the column {missing[0] if missing else _PREFIX + '<class>'}; run `dvc repro evaluate`")
    try:
        probabilities = frame[columns].to_numpy(np.float64)
    except ValueError as error:
        raise UserError(f"{path}: a {_PREFIX} column holds something that is not a number ({error})") from None
    if len(frame):
        probabilities = check_probabilities(probabilities, str(path))
    classes = [name.removeprefix(_PREFIX) for name in columns]
    index = pd.Index(classes)
    labels, predicted = index.get_indexer(frame["actual"]), index.get_indexer(frame["predicted"])

    def refuse(rows: np.ndarray, problem: str) -> None:
        if rows.any():
            row = frame.iloc[int(np.argmax(rows))]
            raise UserError(f"{path}: {row['clip']}: {problem.format(**row[list(_TEXT)])}; run `dvc repro evaluate`")

    refuse(labels < 0, "actual class {actual} has no " + _PREFIX + " column")
    refuse(predicted < 0, "predicted class {predicted} has no " + _PREFIX + " column")
    refuse(frame["clip"].duplicated().to_numpy(), "stands there twice")
    chosen = probabilities[np.arange(len(frame)), predicted]
    refuse(chosen < probabilities.max(1, initial=0), "predicted is {predicted}, which is not the most probable class")
    text = (frame[name].to_numpy(dtype=str) for name in ("clip", "group", "split"))
    return Predictions(classes, *text, labels.astype(np.int64), predicted.astype(np.int64), probabilities)
