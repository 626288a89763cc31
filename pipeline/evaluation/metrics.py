"""Classification metrics: scores with confidence intervals, per-class scores, the confusion matrix and calibration.

The one definition of each score, for evaluate, export, sweeps and the report. Invariants: NumPy and pandas only, so that
reading results imports no scikit-learn and no TensorFlow; a tie between classes goes to the lower label everywhere,
as in `argmax`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.artifacts import Scores
from pipeline.console import UserError
from pipeline.evaluation.bootstrap import bootstrap_intervals
from pipeline.evaluation.log_loss import log_loss
from pipeline.settings import Evaluate

SUM_TOLERANCE = 1e-3
SCORES_WITH_INTERVALS = ("top1", "top5", "macro_f1", "balanced_accuracy")


def check_probabilities(probabilities: np.ndarray, source: str = "probabilities") -> np.ndarray:
    """Validates predicted probabilities.

    Args:
      probabilities: array of shape (n_clips, n_classes), each row sums to 1 within SUM_TOLERANCE.
      source: their name in error messages.

    Returns:
      The probabilities as float64.

    Raises:
      UserError: no clips, non-finite values, or a row that is not a distribution.
      ValueError: the wrong shape.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] < 1:
        raise ValueError(f"{source}: expected shape (clips, classes), got {probabilities.shape}")
    if not len(probabilities):
        raise UserError(f"{source}: no clips to score", advice="check data.split, which leaves this split empty")
    finite = np.isfinite(probabilities).all(1)
    if not finite.all():
        message = (
            f"{source}: {int((~finite).sum())} of {len(finite)} clips have non-finite values, first in row {np.argmin(finite)}"
        )
        raise UserError(message, advice="the training diverged: lower finetune.learning_rate")
    wrong = (np.abs(probabilities.sum(1) - 1) > SUM_TOLERANCE) | (probabilities.min(1) < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{source}: row {row} is not a distribution (sum {probabilities[row].sum():.6g}, smallest "
            f"{probabilities[row].min():.6g}): the values of a row must be non-negative and sum to 1"
        )
    return probabilities


def _check_labels(labels: np.ndarray, clips: int, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (clips,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected {clips} integer labels, got shape {labels.shape} of {labels.dtype}")
    if clips and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return labels.astype(np.int64)


def top_k_hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the actual class is among the `k` most probable.

    Args:
      probabilities: float array of shape (n_clips, n_classes).
      labels: int array of shape (n_clips,), the actual classes.
      k: with fewer classes than this, every clip is a hit.

    Returns:
      bool array of shape (n_clips,).
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = (probabilities > own).sum(1) + ((probabilities == own) & before).sum(1)
    return rank < k


def calibration_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> pd.DataFrame:
    """Confidence and accuracy in bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Args:
      probabilities: float array of shape (n_clips, n_classes).
      labels: int array of shape (n_clips,), the actual classes.
      bins: number of bins, at least 1.

    Returns:
      DataFrame with a row per bin, which holds the clips whose largest probability is in (low, high]: low, high, clips,
      confidence (mean of the largest probability) and accuracy; the last two are NaN in an empty bin.

    Raises:
      ValueError: fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    of_clip = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    clips = np.bincount(of_clip, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(of_clip, confidence, bins) / clips
        accuracy = np.bincount(of_clip, correct, bins) / clips
    edges = np.arange(bins + 1) / bins
    return pd.DataFrame(
        {"low": edges[:-1], "high": edges[1:], "clips": clips, "confidence": mean_confidence, "accuracy": accuracy}
    )


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """Mean absolute gap between confidence and accuracy of `calibration_bins`, weighted by clips (Guo et al. 2017), in [0, 1]."""
    filled = bins[bins["clips"] > 0]
    gaps = (filled["accuracy"] - filled["confidence"]).abs()
    return float((gaps * filled["clips"]).sum() / filled["clips"].sum())


def _macro_f1(right: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that have clips. Arguments: counts of shape (n_resamples, n_classes); returns (n_resamples,)."""
    present = actual > 0
    f1 = np.divide(2 * right, actual + predicted, out=np.zeros_like(right), where=present)
    return f1.sum(1) / np.maximum(present.sum(1), 1)


def _balanced_accuracy(right: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that have clips. Arguments and result: see `_macro_f1`."""
    present = actual > 0
    recall = np.divide(right, actual, out=np.zeros_like(right), where=present)
    return recall.sum(1) / np.maximum(present.sum(1), 1)


def score(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray, settings: Evaluate, seed: int) -> Scores:
    """Computes the scores of one split.

    Args:
      probabilities: float array of shape (n_clips, n_classes), each row sums to 1.
      labels: int array of shape (n_clips,), the actual classes.
      groups: str array of shape (n_clips,), the units of resampling: clips of one group share a person, scene or source video.
      settings: `bootstrap` (resamples), `confidence` and `bins` are used.
      seed: of the resampling.

    Returns:
      top1, top5, macro_f1 and balanced_accuracy in [0, 1] with the ends of their intervals (see `bootstrap_intervals`), log_loss
      in nats, ece (`expected_calibration_error`), and the numbers of clips and groups. top5 is the top-min(5, n_classes)
      accuracy; macro_f1 and balanced_accuracy are the means of F1 and of recall over the classes that have clips.

    Raises:
      UserError: see `check_probabilities`.
      ValueError: shapes do not match, or labels are no integers in 0..n_classes - 1.
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
            top_k_hits(probabilities, labels, 1),
            top_k_hits(probabilities, labels, 5),
            actual_of * predicted_of,
            actual_of,
            predicted_of,
        ]
    )

    def scores(sums: np.ndarray) -> np.ndarray:
        right, actual, chosen = (sums[:, 3 + part * classes : 3 + (part + 1) * classes] for part in range(3))
        top1, top5 = sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
        return np.column_stack([top1, top5, _macro_f1(right, actual, chosen), _balanced_accuracy(right, actual)])

    point = scores(values.sum(0, keepdims=True))[0]
    intervals = bootstrap_intervals(
        values, groups, scores, resamples=settings.bootstrap, confidence=settings.confidence, seed=seed
    )
    main: dict = {}
    for name, value, (low, high) in zip(SCORES_WITH_INTERVALS, point, intervals, strict=True):
        main |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    return Scores(
        **main,
        log_loss=log_loss(probabilities, labels),
        ece=expected_calibration_error(calibration_bins(probabilities, labels, settings.bins)),
        clips=count,
        groups=len(np.unique(groups)),
    )


def per_class_scores(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall and F1 of each class, as `sklearn.metrics.precision_recall_fscore_support`.

    Args:
      labels: int array of shape (n_clips,), the actual classes.
      predicted: int array of shape (n_clips,).
      classes: the names, in label order.

    Returns:
      DataFrame with a row per class: class, clips, precision, recall, f1. Undefined values are 0: the precision of a class that
      is never predicted, and the recall of one without clips.
    """
    predicted = _check_labels(predicted, len(predicted), len(classes))
    labels = _check_labels(labels, len(predicted), len(classes))
    count = len(classes)
    clips, chosen = np.bincount(labels, minlength=count), np.bincount(predicted, minlength=count)
    right = np.bincount(labels[labels == predicted], minlength=count)
    precision, recall, f1 = (
        np.divide(part, whole, out=np.zeros(count), where=whole > 0)
        for part, whole in ((right, chosen), (right, clips), (2 * right, clips + chosen))
    )
    return pd.DataFrame({"class": list(classes), "clips": clips, "precision": precision, "recall": recall, "f1": f1})


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts clips by actual class (rows) and predicted class (columns), as `sklearn.metrics.confusion_matrix`.

    Args:
      labels: int array of shape (n_clips,), the actual classes.
      predicted: int array of shape (n_clips,).
      classes: number of classes.

    Returns:
      int64 array of shape (n_classes, n_classes).
    """
    predicted = _check_labels(predicted, len(predicted), classes)
    labels = _check_labels(labels, len(predicted), classes)
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def most_confused_pairs(matrix: np.ndarray, classes: Sequence[str], n: int) -> pd.DataFrame:
    """The most frequent pairs of actual and wrongly predicted class.

    Args:
      matrix: confusion matrix, int array of shape (n_classes, n_classes).
      classes: the names, in label order.
      n: number of pairs; fewer are returned where fewer occur.

    Returns:
      DataFrame with a row per pair: actual, predicted, clips, share (of the actual class's clips), most clips first; ties by
      larger share, then in label order.
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
