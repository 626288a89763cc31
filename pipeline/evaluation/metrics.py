"""What a classifier's probabilities are worth: scores with intervals, per-class scores, confusions and calibration.

One definition of each score for evaluate, the sweep and the report, on NumPy and scikit-learn alone, so that reading results
never costs the import of TensorFlow. A tie between classes goes to the lower label everywhere, as in `argmax`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from pipeline.artifacts import Scores
from pipeline.console import UserError
from pipeline.evaluation.bootstrap import cluster_intervals
from pipeline.settings import Evaluate

# Networks compute in float32, where a probability below this is indistinguishable from 0; a fixed number, so that the score
# does not depend on the dtype the probabilities arrive in.
LOG_LOSS_FLOOR = float(np.finfo(np.float32).eps)
SUM_TOLERANCE = 1e-3


def check_probabilities(probabilities: np.ndarray, source: str = "probabilities") -> np.ndarray:
    """Returns float64 (N, C); raises UserError where they are not probabilities, ValueError where the shape is wrong."""
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] < 1:
        raise ValueError(f"{source}: expected shape (clips, classes), got {probabilities.shape}")
    if not len(probabilities):
        raise UserError(f"{source}: no clips to score; check data.split, which leaves this split empty")
    finite = np.isfinite(probabilities).all(1)
    if not finite.all():
        raise UserError(
            f"{source}: {int((~finite).sum())} of {len(finite)} clips have values that are not finite, first in row "
            f"{int(np.argmin(finite))}; the training diverged: lower finetune.learning_rate"
        )
    wrong = (np.abs(probabilities.sum(1) - 1) > SUM_TOLERANCE) | (probabilities.min(1) < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{source}: row {row} is not a distribution (sum {probabilities[row].sum():.6g}, "
            f"smallest {probabilities[row].min():.6g}); each row must hold non-negative numbers that sum to 1"
        )
    return probabilities


def _check_labels(labels: np.ndarray, clips: int, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (clips,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected {clips} integer labels, got shape {labels.shape} of {labels.dtype}")
    if clips and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64)


def hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the actual class is among the `k` most probable: bool (N,). With fewer than `k` classes it always is."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = (probabilities > own).sum(1) + ((probabilities == own) & before).sum(1)
    return rank < k


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -ln(probability of the actual class), in nats; probabilities are clipped at LOG_LOSS_FLOOR."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(np.log(1 / np.clip(own, LOG_LOSS_FLOOR, 1)).mean())


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> pd.DataFrame:
    """Confidence against accuracy in bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Returns one row a bin, the interval (low, high] of the largest probability: low, high, clips, confidence (mean), accuracy;
    the last two are NaN in an empty bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    clips = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(place, confidence, bins) / clips
        accuracy = np.bincount(place, correct, bins) / clips
    edges = np.arange(bins + 1) / bins
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "clips": clips, "confidence": mean_confidence, "accuracy": accuracy}
    )


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Mean gap between confidence and accuracy over the bins of `reliability`, weighted by their clips."""
    filled = bins[bins["clips"] > 0]
    gaps = (filled["accuracy"] - filled["confidence"]).abs()
    return float((gaps * filled["clips"]).sum() / filled["clips"].sum())


def _macro_f1(right: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that have clips, of per-class counts (B, C): (B,)."""
    present = actual > 0
    f1 = np.divide(2 * right, actual + predicted, out=np.zeros_like(right), where=present)
    return f1.sum(1) / np.maximum(present.sum(1), 1)


def score(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray, settings: Evaluate, seed: int) -> Scores:
    """The scores of one split.

    Args:
      probabilities: float (N, C), each row sums to 1.
      labels: int (N,), the actual classes.
      groups: str (N,), what each clip was filmed in or cut from.
      settings: `bootstrap` (resamples), `confidence` and `bins`.
      seed: of the resampling.

    Returns:
      top1, top5, macro_f1 with `_low` and `_high` (None with fewer than two groups), log_loss (nats), ece, clips, groups.
      top5 counts min(5, C) classes. macro_f1 is the mean over the classes that have clips: one without cannot be got right.
    """
    probabilities = check_probabilities(probabilities)
    count, classes = probabilities.shape
    labels = _check_labels(labels, count, classes)
    groups = np.asarray(groups)
    if groups.shape != (count,):
        raise ValueError(f"expected {count} groups, got shape {groups.shape}")

    predicted = probabilities.argmax(1)
    one_hot = np.eye(classes)
    actual_of, predicted_of = one_hot[labels], one_hot[predicted]
    values = np.column_stack(
        [
            np.ones(count),
            hits(probabilities, labels, 1),
            hits(probabilities, labels, 5),
            actual_of * predicted_of,
            actual_of,
            predicted_of,
        ]
    )

    def scores(sums: np.ndarray) -> np.ndarray:
        right, actual, chosen = (sums[:, 3 + part * classes : 3 + (part + 1) * classes] for part in range(3))
        return np.column_stack([sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0], _macro_f1(right, actual, chosen)])

    point = scores(values.sum(0, keepdims=True))[0]
    intervals = cluster_intervals(values, groups, scores, resamples=settings.bootstrap, confidence=settings.confidence, seed=seed)
    main: dict = {}
    for name, value, (low, high) in zip(("top1", "top5", "macro_f1"), point, intervals, strict=True):
        main |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    return Scores(
        **main,
        log_loss=log_loss(probabilities, labels),
        ece=expected_calibration_error(reliability(probabilities, labels, settings.bins)),
        clips=count,
        groups=len(np.unique(groups)),
    )


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """One row a class, in the order of `classes`: class, clips, precision, recall, f1.

    A class that is never predicted has precision 0, one without clips recall 0 (both are undefined); look at `clips`.
    """
    predicted = _check_labels(predicted, len(predicted), len(classes))
    labels = _check_labels(labels, len(predicted), len(classes))
    precision, recall, f1, clips = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0
    )
    return pd.DataFrame({"class": list(classes), "clips": clips, "precision": precision, "recall": recall, "f1": f1})


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many clips of each actual class (row) were taken for each class (column): int64 (C, C)."""
    predicted = _check_labels(predicted, len(predicted), classes)
    labels = _check_labels(labels, len(predicted), classes)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def most_confused(matrix: np.ndarray, classes: Sequence[str], n: int) -> pd.DataFrame:
    """The `n` most frequent mistakes: actual, predicted, clips, share (of the actual class's clips), worst first.

    Fewer rows when there are fewer kinds of mistakes; equal counts go by larger share, then by the order of the classes.
    """
    matrix = np.asarray(matrix)
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(f"expected a confusion matrix of {len(classes)} classes, got {matrix.shape}")
    wrong = matrix * ~np.eye(len(classes), dtype=bool)
    rows, columns = np.nonzero(wrong)
    clips = wrong[rows, columns]
    share = clips / matrix.sum(1)[rows]
    order = np.lexsort((columns, rows, -share, -clips))[:n]
    names = np.array(classes, dtype=object)
    return pd.DataFrame(
        {"actual": names[rows[order]], "predicted": names[columns[order]], "clips": clips[order], "share": share[order]}
    )
