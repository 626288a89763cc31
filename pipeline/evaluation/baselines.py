"""Baselines for a classifier's accuracy: the largest class, and the classifier itself on still or shuffled frames.

The classifier itself is not changed: it gets one view of each clip as recorded, with the middle frame repeated, and with the
frames in a random order. The accuracy that it keeps comes from appearance. The accuracy that it loses is an upper bound on what
motion and the order of frames contribute, because such views are unlike those in training. Differences are paired: same clips,
same views.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts import REORDERED, Baselines, BaselineScores, ClassifierDescription
from pipeline.console import UserError
from pipeline.evaluation.bootstrap import bootstrap_intervals, paired_difference
from pipeline.evaluation.log_loss import log_loss
from pipeline.models.family import predict
from pipeline.settings import Evaluate
from pipeline.training.cached_features import read_features


class ReorderedPredictions(NamedTuple):
    """Of one view of some test clips.

    Attributes:
      labels: int (n,), the actual classes. groups: str (n,).
      probabilities: float (n, 3, classes), in the orders of FRAME_ORDERS: recorded, repeated, shuffled.
    """

    labels: np.ndarray
    groups: np.ndarray
    probabilities: np.ndarray


def predict_reordered_features(embeddings: Path, classifier: Path, description: ClassifierDescription) -> ReorderedPredictions:
    """Applies the classifier's top to the cached features. Raises UserError if there are none."""
    if not (embeddings / f"{REORDERED}.csv").exists():
        raise UserError(f"{embeddings}: made without views for the baselines", advice="run `dvc repro`")
    cached = read_features(embeddings, REORDERED)
    rows = pd.read_csv(embeddings / f"{REORDERED}.csv", dtype=str, keep_default_na=False)
    flat = cached.flat()
    probabilities = predict(classifier, description, flat.features, flat.mask).reshape(*cached.labels.shape, -1)
    return ReorderedPredictions(cached.labels[:, 0], rows["group"].to_numpy(), probabilities)


def measure_baselines(
    test: pd.DataFrame,
    classes: list[str],
    train_clips: dict[str, int],
    reordered: ReorderedPredictions | None,
    evaluate: Evaluate,
    seed: int,
) -> Baselines:
    """The baselines of a classifier, with intervals by groups.

    Args:
      test: its predictions for the test clips, as `predictions_frame` makes them.
      classes: names, in label order.
      train_clips: number of training clips by class. Of classes with equally many, the first counts as the largest.
      reordered: its predictions for views in other orders; None leaves these baselines out.
    """
    largest = max(classes, key=lambda name: train_clips.get(name, 0))
    actual, groups = test["actual"].to_numpy(), test["group"].to_numpy()
    of_largest = _scores(actual == largest, groups, evaluate, seed, classifier=actual == test["predicted"].to_numpy())
    if reordered is None:
        return Baselines(largest_class_name=largest, largest_class=of_largest)
    labels, groups = reordered.labels, reordered.groups
    right = reordered.probabilities.argmax(axis=2) == labels[:, None]
    recorded, repeated, shuffled = (
        _scores(
            right[:, number],
            groups,
            evaluate,
            seed,
            classifier=right[:, 0] if number else None,
            loss=log_loss(reordered.probabilities[:, number], labels),
        )
        for number in range(3)
    )
    return Baselines(
        largest_class_name=largest,
        largest_class=of_largest,
        clips=len(labels),
        groups=len(np.unique(groups)),
        one_view=recorded,
        one_frame=repeated,
        shuffled=shuffled,
    )


def _scores(
    right: np.ndarray,
    groups: np.ndarray,
    evaluate: Evaluate,
    seed: int,
    *,
    classifier: np.ndarray | None,
    loss: float | None = None,
) -> BaselineScores:
    """right: bool (n,), whether each clip is right. classifier: the same of what the baseline is compared with."""
    options = {"resamples": evaluate.bootstrap, "confidence": evaluate.confidence, "seed": seed}
    values = np.column_stack([np.ones(len(right)), right])
    ((low, high),) = bootstrap_intervals(values, groups, lambda sums: sums[:, 1:] / sums[:, :1], **options)
    scores = BaselineScores(top1=float(right.mean()), top1_low=low, top1_high=high, log_loss=loss)
    if classifier is None:
        return scores
    gain = paired_difference(classifier, right, groups, **options)
    return scores.model_copy(update={"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high})
