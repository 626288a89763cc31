"""The training loop: Keras's own `fit`, an epoch at a time, that goes on exactly where a killed run stopped.

Invariants: equal parameters, data and machine give equal numbers, whether or not the run was interrupted. Orders and
augmentations follow from (seed, epoch, position), dropout from (seed, step); a checkpoint holds weights, optimizer and progress.
"""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.console import UserError, progress, say
from pipeline.files import atomic_file
from pipeline.models.family import ModelSettings
from pipeline.settings import Finetune
from pipeline.training.optimizer import build_optimizer, schedule
from pipeline.training.random_layers import draw_from_steps
from pipeline.training.replicas import SAVE, Replicas

OnEpoch = Callable[[pd.DataFrame], None]  # given the history so far

HISTORY = [
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "examples_per_second",
]


@dataclass
class TrainingProgress:
    """How far a training is; JSON inside its checkpoint.

    `examples` counts those of the unfinished epoch, `loss` and `accuracy` are their means, `seconds` what they took.
    """

    epoch: int = 0
    examples: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0


@dataclass(frozen=True)
class Task:
    """What to train on. `epoch(number, first)` gives the batches of epoch `number` (from 0) after its first `first` examples.

    `examples`: of an epoch. Where replicas train the data sets are distributed ones, and `held_out` counts those of validation.
    """

    examples: int
    epoch: Callable[[int, int], tf.data.Dataset]
    validation: tf.data.Dataset
    held_out: int = 0


class _Saver:
    """Saves a training in `folder`: weights, optimizer and progress in one checkpoint, the best weights next to it.

    Where several processes train all must save at once, for they hold some values together; only the chief's files stay.
    """

    def __init__(self, model: tf_keras.Model, optimizer, folder: Path, replicas: Replicas | None):
        self.model = model
        self.optimizer = optimizer
        self.folder = folder
        self.replicas = replicas
        self.state = tf.Variable("", trainable=False, shape=[], dtype=tf.string)
        self.checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, reached=self.state)
        self.chief = replicas is None or replicas.chief
        self.aside = None if self.chief else tempfile.TemporaryDirectory(prefix="training-")
        self.manager = tf.train.CheckpointManager(self.checkpoint, str(folder) if self.chief else self.aside.name, max_to_keep=1)
        self.best: list[np.ndarray] | None = None
        self.saved = time.monotonic()

    def _best_file(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.npz"

    def restore(self) -> TrainingProgress:
        latest = tf.train.latest_checkpoint(str(self.folder))
        if latest is None:
            return TrainingProgress()
        self.checkpoint.restore(latest).assert_existing_objects_matched()
        reached = TrainingProgress(**json.loads(self.state.numpy()))
        if reached.best_epoch:
            with np.load(self._best_file(reached.best_epoch)) as arrays:
                self.best = [arrays[name] for name in arrays.files]
        return reached

    def is_due(self, interval: float, results: dict | None = None) -> bool:
        """Whether `interval` seconds have gone by; several processes do as the chief wished before the step of `results`."""
        if self.replicas is None or not self.replicas.several_processes:
            return time.monotonic() - self.saved > interval
        self.replicas.wish_to_save(time.monotonic() - self.saved > interval)
        return results is None or float(results[SAVE]) > 0

    def save(self, reached: TrainingProgress) -> None:
        if self.chief and reached.best_epoch and not self._best_file(reached.best_epoch).exists():
            with atomic_file(self._best_file(reached.best_epoch)) as part, open(part, "wb") as file:
                np.savez(file, *self.best)
        self.state.assign(json.dumps(asdict(reached)))
        self.manager.save()
        for old in self.folder.glob("best-*.npz") if self.chief else ():
            if old != self._best_file(reached.best_epoch):
                old.unlink()
        self.saved = time.monotonic()
        if self.replicas is not None:
            self.replicas.wish_to_save(False)


class _Batches(tf_keras.callbacks.Callback):
    """Moves the bar, keeps the running means of an epoch, stops a training that has diverged, and saves now and then."""

    def __init__(self, saver: _Saver, reached: TrainingProgress, examples: int, batch_size: int, interval: float, bar):
        super().__init__()
        self.saver, self.reached, self.total, self.batch_size, self.interval, self.bar = (
            saver,
            reached,
            examples,
            batch_size,
            interval,
            bar,
        )
        self.before, self.started = (reached.examples, reached.loss, reached.accuracy, reached.seconds), time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        done, loss, accuracy, seconds = self.before
        new = min(self.reached.examples + self.batch_size, self.total) - self.reached.examples
        self.reached.examples += new
        fresh = self.reached.examples - done
        self.reached.loss = (loss * done + float(logs["cross_entropy"]) * fresh) / self.reached.examples
        self.reached.accuracy = (accuracy * done + float(logs["accuracy"]) * fresh) / self.reached.examples
        self.reached.seconds = seconds + time.monotonic() - self.started
        if not np.isfinite(self.reached.loss):
            raise UserError(
                f"the loss is {self.reached.loss} in epoch {self.reached.epoch + 1}",
                advice="lower finetune.learning_rate or set clip_norm",
            )
        self.bar.update(new)
        self.bar.set_postfix_str(f"loss {self.reached.loss:.3f}, accuracy {self.reached.accuracy:.3f}", refresh=False)
        if self.saver.is_due(self.interval, logs):
            self.saver.save(self.reached)


@dataclass(frozen=True)
class Training:
    """How to train, whatever is trained.

    Attributes:
      seed: of the order, augmentation and dropout.
      folder: scratch folder of the training; a checkpoint found there is resumed.
      checkpoint_minutes: a killed training loses at most this much.
      on_epoch: called with the history so far after each epoch, and when an earlier training is resumed.
    """

    model: ModelSettings
    finetune: Finetune
    seed: int
    folder: Path
    checkpoint_minutes: float = 1.0
    on_epoch: OnEpoch = lambda history: None


def train(model: tf_keras.Model, task: Task, how: Training, replicas: Replicas | None = None) -> tuple[pd.DataFrame, int]:
    """Trains `model`, which gives logits, and leaves the weights of the best epoch in it.

    Args:
      replicas: in whose scope `model` was built; None trains on one device.

    Returns:
      The history, a row an epoch (columns HISTORY; losses are cross entropies in nats, without label smoothing; the learning rate
      is that of the epoch's last step), and the best epoch, counted from 1: that with the lowest validation loss, the earliest of
      equals.

    Raises:
      UserError: the loss is no longer a number.
    """
    settings, on_epoch = how.finetune, how.on_epoch
    interval = how.checkpoint_minutes * 60
    steps = -(-task.examples // settings.batch_size)
    rates = schedule(settings, steps * settings.epochs)
    with nullcontext() if replicas is None else replicas.strategy.scope():
        model.compile(
            build_optimizer(settings, steps * settings.epochs),
            loss=tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
            metrics=[
                tf_keras.metrics.CategoricalCrossentropy(name="cross_entropy", from_logits=True),
                tf_keras.metrics.CategoricalAccuracy(name="accuracy"),
            ],
        )
        model.optimizer.build(model.trainable_variables)  # else Keras traces the whole step a second time
    draw_from_steps(model, how.seed, model.optimizer.iterations)
    saver = _Saver(model, model.optimizer, how.folder, replicas)
    reached = saver.restore()
    if replicas is not None:
        replicas.take_over(model, settings.label_smoothing)
        replicas.check_agreement(reached.epoch, reached.examples)
    if reached.epoch or reached.examples:
        say(f"resuming in epoch {reached.epoch + 1} after {reached.examples} of {task.examples} examples")
        on_epoch(_table(reached))

    validation_steps = None if replicas is None else -(-task.held_out // settings.batch_size)
    done = reached.epoch * task.examples + reached.examples
    with progress(total=settings.epochs * task.examples, initial=done, describe="training", unit="clip") as bar:
        while reached.epoch < settings.epochs and not _is_over(reached, settings):
            bar.set_description(f"epoch {reached.epoch + 1}/{settings.epochs}", refresh=False)
            batches = _Batches(saver, reached, task.examples, settings.batch_size, interval, bar)
            if reached.examples < task.examples:
                # Told nothing, Keras finds the end by one step more, which still counts as one of the optimizer's.
                left = -(-(task.examples - reached.examples) // settings.batch_size)
                batches_left = task.epoch(reached.epoch, reached.examples)
                model.fit(batches_left, epochs=1, verbose=0, callbacks=[batches], steps_per_epoch=left)
            validation = model.evaluate(task.validation, verbose=0, return_dict=True, steps=validation_steps)
            values = [
                reached.epoch + 1,
                reached.loss,
                reached.accuracy,
                validation["cross_entropy"],
                validation["accuracy"],
                float(rates(max(int(model.optimizer.iterations.numpy()) - 1, 0))),
                reached.seconds,
                task.examples / max(reached.seconds, 1e-9),
            ]
            row = dict(zip(HISTORY, values, strict=True))
            reached.history.append(row)
            if not np.isfinite(row["validation_loss"]):
                raise UserError(
                    f"the validation loss is {row['validation_loss']} after epoch {row['epoch']}; lower finetune.learning_rate"
                )
            best = min(reached.history, key=lambda item: item["validation_loss"])["epoch"]
            if best == row["epoch"]:
                reached.best_epoch, saver.best = best, model.get_weights()
            reached.epoch, reached.examples, reached.loss, reached.accuracy, reached.seconds = reached.epoch + 1, 0, 0.0, 0.0, 0.0
            on_epoch(_table(reached))
            if saver.is_due(interval) or reached.epoch == settings.epochs:
                saver.save(reached)
    model.set_weights(saver.best)
    return _table(reached), reached.best_epoch


def _table(reached: TrainingProgress) -> pd.DataFrame:
    return pd.DataFrame(reached.history, columns=HISTORY)


def _is_over(reached: TrainingProgress, settings: Finetune) -> bool:
    """Whether `patience` epochs have gone by without a better validation loss."""
    return settings.patience is not None and reached.epoch - reached.best_epoch >= settings.patience
