"""Trains a top on the cached features of a frozen backbone. It takes seconds, because the backbone does not run."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription, EmbedSummary
from pipeline.models.family import build_top, save_top
from pipeline.training.cached_features import CachedFeatures, read_features
from pipeline.training.calibration import Decide, divide_logits
from pipeline.training.datasets import Features, feature_epoch
from pipeline.training.loop import Task, Training, train
from pipeline.training.outputs import write_classifier
from pipeline.training.probe import fit_probe

LOGITS_BATCH = 1024  # views at a time in inference


def _top_inputs(cached: CachedFeatures) -> Features:
    """The input of a top, of flat features: a tensor, or a dictionary if there is a mask."""
    features = tf.constant(cached.features)
    return features if cached.mask is None else {"features": features, "mask": tf.constant(cached.mask)}


def top_logits(top: tf_keras.Model, cached: CachedFeatures) -> np.ndarray:
    """Logits float32 (clips, views, classes) of the features of whole clips."""
    batches = tf.data.Dataset.from_tensor_slices(_top_inputs(cached.flat())).batch(LOGITS_BATCH)
    logits = np.concatenate([top(batch, training=False).numpy() for batch in batches])
    return logits.reshape(*cached.labels.shape, -1)


def _top_task(training: Training, train_split: CachedFeatures, held_out: CachedFeatures, num_classes: int) -> Task:
    """The training of a top on flat features."""
    batch_size = training.finetune.batch_size
    features, labels = _top_inputs(train_split), tf.constant(train_split.labels)
    one_hot = tf.one_hot(held_out.labels, num_classes)
    return Task(
        examples=len(train_split.labels),
        epoch=lambda epoch, first: feature_epoch(
            features, labels, num_classes, batch_size=batch_size, seed=training.seed, epoch=epoch, first=first
        ),
        validation=tf.data.Dataset.from_tensor_slices((_top_inputs(held_out), one_hot)).batch(batch_size),
        held_out=len(held_out.labels),
    )


def train_top(
    training: Training, description: ClassifierDescription, embeddings: Path, out: Path, decide: Decide
) -> pd.DataFrame:
    """Trains or fits a top on the cached features, and writes the calibrated classifier to `out`. Returns the history."""
    num_classes = len(EmbedSummary.of(embeddings).classes)
    train_split, validation = read_features(embeddings, "train"), read_features(embeddings, "validation")
    top = build_top(training.model, training.finetune, embeddings, num_classes, training.seed)
    if training.finetune.trainable == "probe":
        history, best = fit_probe(top, train_split, validation)
        training.on_epoch(history)
    else:
        task = _top_task(training, train_split.flat(), validation.middle().flat(), num_classes)
        history, best = train(top, task, training)
    decision = decide(top_logits(top, validation), validation.labels[:, 0])
    divide_logits(top, decision.temperature)
    write_classifier(out, description, best, decision, lambda part: save_top(top, embeddings, part, description))
    return history
