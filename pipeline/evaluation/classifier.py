"""Evaluates a classifier: its predictions for clips, from cached features, and the scores of its predictions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts import ClassifierDescription, HeldOutClasses, Metrics, is_cached
from pipeline.evaluation.held_out import ClipFeatures, hold_out_classes
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import predictions_frame
from pipeline.evaluation.remembered import remember
from pipeline.evaluation.selective import selective_scores
from pipeline.models.family import predict, probe_features
from pipeline.settings import Evaluate, Unknown
from pipeline.training.cached_features import read_features

SPLITS = ("test", "validation")


def predict_features(
    embeddings: Path, split: str, classifier: Path, description: ClassifierDescription
) -> tuple[pd.DataFrame, np.ndarray]:
    """Applies the classifier's top to a split's cached features.

    Returns:
      - A frame with the columns clip, group and label, a row per clip.
      - Probabilities float32 (clips, classes), the mean over the views.
    """
    cached = read_features(embeddings, split)
    clips, views = cached.labels.shape
    rows = pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False)
    rows["label"] = cached.labels[:, 0]
    flat = cached.flat()
    each = predict(classifier, description, flat.features, flat.mask)
    return rows, each.reshape(clips, views, -1).mean(axis=1)


def score_splits(
    predict_split: Callable[[str], tuple[pd.DataFrame, np.ndarray]],
    description: ClassifierDescription,
    evaluate: Evaluate,
    seed: int,
) -> tuple[Metrics, dict[str, pd.DataFrame]]:
    """The metrics of a classifier, and its predictions by split.

    predict_split: of a split's name, what `predict_features` returns.
    """
    scores, predictions = {}, {}
    for split in SPLITS:
        rows, probabilities = predict_split(split)
        order = np.argsort(rows["clip"].to_numpy())
        rows, probabilities = rows.iloc[order], probabilities[order]
        labels, groups = rows["label"].to_numpy(), rows["group"].to_numpy()
        scored = score(probabilities, labels, groups, evaluate, seed)
        selective = selective_scores(probabilities, labels, groups, description.classes, description.decision, evaluate, seed)
        scores[split] = scored.model_copy(update=selective._asdict())
        predictions[split] = predictions_frame(rows["clip"], groups, split, labels, probabilities, description.classes)
    return Metrics(**scores, decision=description.decision, interpolation=description.interpolation), predictions


def clip_features(embeddings: Path, split: str, description: ClassifierDescription) -> ClipFeatures:
    """The mean of `probe_features` over a clip's views, a row per clip of the split's CSV file in `embeddings`.

    Views that show another class, because they are mirrored, do not count. The first view of a clip is never mirrored.
    """
    cached = read_features(embeddings, split)
    flat = cached.flat()
    features = probe_features(embeddings, description, flat.features, flat.mask)
    rows = pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False)
    labels = cached.labels[:, 0]
    shown = (cached.labels == labels[:, None])[:, :, None]
    mean = features.reshape(*cached.labels.shape, -1).mean(axis=1, where=shown)
    return ClipFeatures(mean, labels, rows["group"].to_numpy())


def hold_out(embeddings: Path, classifier: Path) -> HeldOutClasses:
    """Measures how often clips of classes that are held out of training are refused; see `hold_out_classes`."""
    description = ClassifierDescription.of(classifier)
    decision = description.decision
    if not is_cached(embeddings):
        return HeldOutClasses(reason="the backbone was trained, so that there are no cached features: see finetune=probe")
    if decision is None:
        return HeldOutClasses(reason="the classifier is of an earlier version, without a threshold")

    background = None if decision.background is None else description.classes.index(decision.background)
    unknown = Unknown(by=decision.by, level=decision.level)
    splits = [clip_features(embeddings, split, description) for split in ("train", "validation", "test")]
    found = remember(
        "held_out",
        [array for split in splits for array in split],
        [description.classes, unknown.model_dump(), background],
        lambda: hold_out_classes(*splits, description.classes, unknown, background).model_dump(mode="json"),
    )
    return HeldOutClasses.model_validate(found)
