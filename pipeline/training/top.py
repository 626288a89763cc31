"""Trains a top on the cached features of a frozen backbone. It takes seconds, because the backbone does not run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from pipeline.artifacts import ClassifierDescription, EmbedSummary
from pipeline.models.family import build_top, save_top
from pipeline.training.datasets import Features, feature_epoch
from pipeline.training.loop import Task, Training, train
from pipeline.training.outputs import write_classifier


@dataclass(frozen=True)
class CachedSplit:
    """The cached features of a split.

    Attributes:
      features: float32 (clips, views, ...).
      labels: int32 (clips, views).
      mask: bool (clips, views, frames), False for padding; None where the family does not pad.
    """

    features: np.ndarray
    labels: np.ndarray
    mask: np.ndarray | None

    def flat(self) -> tuple[Features, tf.Tensor]:
        """Features and labels of all views, with clips and views in one axis: the input of a top."""
        features = tf.constant(self.features.reshape(-1, *self.features.shape[2:]))
        labels = tf.constant(self.labels.reshape(-1))
        if self.mask is None:
            return features, labels
        return {"features": features, "mask": tf.constant(self.mask.reshape(-1, self.mask.shape[2]))}, labels

    def middle(self) -> "CachedSplit":
        """The middle view of each clip."""
        chosen = slice(self.labels.shape[1] // 2, self.labels.shape[1] // 2 + 1)
        mask = None if self.mask is None else self.mask[:, chosen]
        return CachedSplit(self.features[:, chosen], self.labels[:, chosen], mask)


def read_split(embeddings: Path, split: str, summary: EmbedSummary) -> CachedSplit:
    mask = np.load(embeddings / f"{split}_mask.npy") if summary.masked else None
    return CachedSplit(np.load(embeddings / f"{split}.npy"), np.load(embeddings / f"{split}_labels.npy"), mask)


def train_top(training: Training, description: ClassifierDescription, embeddings: Path, out: Path) -> pd.DataFrame:
    """Trains a top on the cached features in `embeddings`, and writes the classifier to `out`. Returns the history."""
    summary, batch_size = EmbedSummary.of(embeddings), training.finetune.batch_size
    num_classes = len(summary.classes)
    features, labels = read_split(embeddings, "train", summary).flat()
    held_out, held_out_labels = read_split(embeddings, "validation", summary).middle().flat()

    top = build_top(training.model, training.finetune, embeddings, num_classes, training.seed)
    one_hot = tf.one_hot(held_out_labels, num_classes)
    task = Task(
        examples=int(labels.shape[0]),
        epoch=lambda epoch, first: feature_epoch(
            features, labels, num_classes, batch_size=batch_size, seed=training.seed, epoch=epoch, first=first
        ),
        validation=tf.data.Dataset.from_tensor_slices((held_out, one_hot)).batch(batch_size),
        held_out=int(held_out_labels.shape[0]),
    )
    history, best_epoch = train(top, task, training)
    write_classifier(out, description, best_epoch, lambda part: save_top(top, embeddings, part, description))
    return history
