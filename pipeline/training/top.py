"""Trains a top on the cached features of a frozen backbone. It takes seconds, because the backbone does not run.

Invariants: those of `loop`. The steps of an epoch run in one graph, because in Keras's `fit` most of a small step is overhead.
A checkpoint is written between epochs.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription, EmbedSummary
from pipeline.console import UserError, progress, say
from pipeline.files import atomic_file
from pipeline.models.family import build_top, save_top
from pipeline.settings import Finetune
from pipeline.training.balance import balanced_copies, class_weights, draw_offset, training_losses
from pipeline.training.cached_features import CachedFeatures, read_features
from pipeline.training.calibration import divide_logits
from pipeline.training.contract import HISTORY, Decide, Training
from pipeline.training.mixup import mixup
from pipeline.training.optimizer import FusedAdamW, schedule
from pipeline.training.outputs import write_classifier
from pipeline.training.random_layers import draw_from_steps

LOGITS_BATCH = 1024  # views at a time in inference
STEPS = 256  # of a call, between which the progress bar moves


def _inputs(cached: CachedFeatures) -> tf.Tensor | dict[str, tf.Tensor]:
    """The input of a top, of flat features: a tensor, or a dictionary if there is a mask."""
    features = tf.constant(cached.features)
    return features if cached.mask is None else {"features": features, "mask": tf.constant(cached.mask)}


def _logits_of(top: tf_keras.Model, cached: CachedFeatures) -> Callable[[], np.ndarray]:
    """A function that returns logits float32 (clips, views, classes) of cached features, with the top's present weights."""
    batches = list(tf.data.Dataset.from_tensor_slices(_inputs(cached.flat())).batch(LOGITS_BATCH))
    spec = tf.nest.map_structure(lambda values: tf.TensorSpec([None, *values.shape[1:]], values.dtype), batches[0])
    run = tf.function(lambda batch: top(batch, training=False), autograph=False).get_concrete_function(spec)
    return lambda: np.concatenate([run(batch).numpy() for batch in batches]).reshape(*cached.labels.shape, -1)


def top_logits(top: tf_keras.Model, cached: CachedFeatures) -> np.ndarray:
    """Logits float32 (clips, views, classes) of the features of whole clips."""
    return _logits_of(top, cached)()


def epoch_order(labels: np.ndarray, weights: np.ndarray | None, seed: int, epoch: int) -> np.ndarray:
    """The examples of an epoch, counted from 0, in their order: int64 (N,). weights: by class; None: each example once."""
    rows = np.arange(len(labels))
    if weights is not None:
        rows = np.repeat(rows, balanced_copies(weights[labels], draw_offset(seed, epoch)))
    return np.random.default_rng([seed, epoch]).permutation(rows)


def _steps(
    top: tf_keras.Model, optimizer: FusedAdamW, train: CachedFeatures, classes: int, settings: Finetune, seed: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function that trains on the given rows of flat features, int64 (n,), in batches, in their order.

    It returns the sum of their cross entropies and the number of right ones, float32 (2,).
    """
    inputs, targets, batch_size = _inputs(train), tf.one_hot(train.labels, classes), settings.batch_size
    weights = class_weights(np.bincount(train.labels, minlength=classes)) if settings.balance == "weight" else None
    losses = training_losses(settings.label_smoothing, weights)

    def train(rows: tf.Tensor) -> tf.Tensor:
        """A step. Returns as the whole function does."""
        x, y = tf.nest.map_structure(lambda values: tf.gather(values, rows), (inputs, targets))
        if settings.mixup:
            x, y = mixup(x, y, settings.mixup, tf.stack([tf.constant(seed, tf.int64), optimizer.iterations]))
        with tf.GradientTape() as tape:
            logits = top(x, training=True)
            loss = tf.reduce_mean(losses(y, logits))
        optimizer.apply(tape.gradient(loss, top.trainable_variables))
        right = tf.equal(tf.argmax(logits, axis=1), tf.argmax(y, axis=1))
        cross_entropies = tf.nn.softmax_cross_entropy_with_logits(y, logits)
        return tf.stack([tf.reduce_sum(cross_entropies), tf.reduce_sum(tf.cast(right, tf.float32))])

    # Without AutoGraph, which takes longer to convert Python loops than the training of a small head.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def run(order):
        _, sums = tf.while_loop(
            lambda first, sums: first < tf.size(order),
            lambda first, sums: (first + batch_size, sums + train(order[first : first + batch_size])),
            (0, tf.zeros([2])),
            parallel_iterations=1,
        )
        return sums

    return run.get_concrete_function()


class _Checkpoint:
    """The variables of a training, its history, and the weights of its best epoch, in one file that is replaced atomically."""

    def __init__(self, path: Path, variables: list[tf.Variable]):
        self.path, self.variables = path, variables
        self.history: list[dict] = []
        self.best: list[np.ndarray] = []
        self.saved = time.monotonic()
        if path.exists():
            with np.load(path) as arrays:
                for number, variable in enumerate(variables):
                    variable.assign(arrays[f"variable{number}"])
                self.history = json.loads(str(arrays["history"]))
                self.best = [arrays[f"best{number}"] for number in range(sum(name.startswith("best") for name in arrays.files))]

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, the earliest if several have it, counted from 1; 0 before the first."""
        return min(self.history, key=lambda row: row["validation_loss"])["epoch"] if self.history else 0

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.history, columns=HISTORY)

    def save(self) -> None:
        arrays = {f"variable{number}": variable.numpy() for number, variable in enumerate(self.variables)}
        arrays |= {f"best{number}": array for number, array in enumerate(self.best)}
        with atomic_file(self.path) as part, open(part, "wb") as file:
            np.savez(file, history=json.dumps(self.history), **arrays)
        self.saved = time.monotonic()


def train_on_features(
    top: tf_keras.Model, train: CachedFeatures, held_out: CachedFeatures, training: Training
) -> tuple[pd.DataFrame, int]:
    """Trains `top` and sets it to the weights of its best epoch. It is validated on the middle views of `held_out`.

    Returns:
      The history and the best epoch, as `loop.train` does.

    Raises:
      UserError: the loss is not finite.
    """
    settings, train, held_out = training.finetune, train.flat(), held_out.middle()
    examples, classes = len(train.labels), top.output_shape[-1]
    steps = -(-examples // settings.batch_size)
    optimizer = FusedAdamW(settings, steps * settings.epochs, top.trainable_variables)
    draw_from_steps(top, training.seed, optimizer.iterations)
    run = _steps(top, optimizer, train, classes, settings, training.seed)
    held_out_logits = _logits_of(top, held_out)
    weights = class_weights(np.bincount(train.labels, minlength=classes)) if settings.balance == "sample" else None
    done = _Checkpoint(training.folder / "top.npz", [*top.weights, *optimizer.state])
    if done.history:
        say(f"resuming in epoch {len(done.history) + 1}")
        training.on_epoch(done.table())
    with progress(
        total=settings.epochs * examples, initial=len(done.history) * examples, describe="training", unit="clip"
    ) as bar:
        while (epoch := len(done.history)) < settings.epochs and epoch - done.best_epoch < (settings.patience or math.inf):
            bar.set_description(f"epoch {epoch + 1}/{settings.epochs}", refresh=False)
            order = epoch_order(train.labels, weights, training.seed, epoch)
            sums, started = np.zeros(2), time.monotonic()
            for first in range(0, examples, STEPS * settings.batch_size):
                rows = order[first : first + STEPS * settings.batch_size]
                sums += run(tf.constant(rows)).numpy()
                bar.update(len(rows))
            seconds = max(time.monotonic() - started, 1e-9)
            loss, accuracy = sums / examples
            if not np.isfinite(loss):
                raise UserError(
                    f"the loss is {loss} in epoch {epoch + 1}", advice="lower finetune.learning_rate or set clip_norm"
                )
            bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.3f}", refresh=False)
            logits, labels = held_out_logits(), held_out.labels[:, 0]
            validation_loss = float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[:, 0])))
            if not np.isfinite(validation_loss):
                raise UserError(
                    f"the validation loss is {validation_loss} after epoch {epoch + 1}", advice="lower finetune.learning_rate"
                )
            validation_accuracy = float((logits[:, 0].argmax(axis=-1) == labels).mean())
            rate = float(schedule(settings, steps * settings.epochs)(optimizer.iterations - 1))
            row = [epoch + 1, loss, accuracy, validation_loss, validation_accuracy, rate, seconds, examples / seconds]
            done.history.append(dict(zip(HISTORY, map(float, row), strict=True)) | {"epoch": epoch + 1})
            if done.best_epoch == epoch + 1:
                done.best = top.get_weights()
            training.on_epoch(done.table())
            if time.monotonic() - done.saved > training.checkpoint_minutes * 60 or epoch + 1 == settings.epochs:
                done.save()
    top.set_weights(done.best)
    return done.table(), done.best_epoch


def train_top(
    training: Training, description: ClassifierDescription, embeddings: Path, out: Path, decide: Decide
) -> pd.DataFrame:
    """Trains a top on the cached features, and writes the calibrated classifier to `out`. Returns the history."""
    num_classes = len(EmbedSummary.of(embeddings).classes)
    train_split, validation = read_features(embeddings, "train"), read_features(embeddings, "validation")
    top = build_top(training.model, training.finetune, embeddings, num_classes, training.seed)
    history, best = train_on_features(top, train_split, validation, training)
    decision = decide(top_logits(top, validation), validation.labels[:, 0])
    divide_logits(top, decision.temperature)
    write_classifier(out, description, best, decision, lambda part: save_top(top, embeddings, part, description))
    return history
