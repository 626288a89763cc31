"""The training loop of networks: Keras's `fit`, called once per epoch, with exact resumption of a killed run.

Invariants: equal parameters, data and machine give equal numbers, whether or not the run was interrupted. Order and augmentation
are functions of (seed, epoch, index of the example), dropout of (seed, step). A checkpoint holds weights, optimizer and progress.
"""

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.console import UserError, progress, say
from pipeline.files import atomic_file
from pipeline.settings import Finetune
from pipeline.training.balance import training_losses
from pipeline.training.contract import HISTORY, Training
from pipeline.training.optimizer import build_optimizer, rate_factors, schedule
from pipeline.training.random_layers import draw_from_steps
from pipeline.training.replicas import SAVE, Replicas


@dataclass
class TrainingProgress:
    """Progress of a training, stored as JSON in its checkpoint.

    Attributes:
      epoch: number of finished epochs.
      examples, loss, accuracy, seconds: of the unfinished epoch: number of examples so far, their means, and the time they took.
      history: a row per finished epoch, with the columns HISTORY.
      best_epoch: counted from 1; 0 for the initial weights; None before any was validated.
    """

    epoch: int = 0
    examples: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    best_epoch: int | None = None


@dataclass(frozen=True)
class Task:
    """The data of a training.

    Attributes:
      examples: number of examples per epoch.
      epoch: (number, first) -> the batches of epoch `number`, counted from 0, without its first `first` examples.
      validation: batches of held-out examples.
      held_out: number of held-out examples; needed only where replicas train and the datasets are distributed ones.
      starts_trained: whether the initial weights are a result, too: they are validated as epoch 0, and kept if none is better.
      class_weights: of the loss, by class; None: all are 1.
    """

    examples: int
    epoch: Callable[[int, int], tf.data.Dataset]
    validation: tf.data.Dataset
    held_out: int = 0
    starts_trained: bool = False
    class_weights: Sequence[float] | None = None


class _Saver:
    """Saves and restores a training in `folder`: a checkpoint of weights, optimizer and progress, and the best epoch's weights.

    If several processes train, all must save in the same step, because reading synchronized variables is a collective operation.
    Only the chief's files are kept.
    """

    def __init__(self, model: tf_keras.Model, optimizer, folder: Path, replicas: Replicas | None):
        self.model = model
        self.optimizer = optimizer
        self.folder = folder
        self.replicas = replicas
        self.state = tf.Variable("", trainable=False, shape=[], dtype=tf.string)
        self.checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, reached=self.state)
        self.chief = replicas is None or replicas.chief
        self.discarded = None if self.chief else tempfile.TemporaryDirectory(prefix="training-")
        written_to = str(folder) if self.chief else self.discarded.name
        self.manager = tf.train.CheckpointManager(self.checkpoint, written_to, max_to_keep=1)
        self.best: list[np.ndarray] | None = None  # the weights of the best epoch
        self.saved = time.monotonic()  # time of the last save

    def _best_file(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.npz"

    def restore(self) -> TrainingProgress:
        latest = tf.train.latest_checkpoint(str(self.folder))
        if latest is None:
            return TrainingProgress()
        self.checkpoint.restore(latest).assert_existing_objects_matched()
        reached = TrainingProgress(**json.loads(self.state.numpy()))
        if reached.best_epoch is not None:
            with np.load(self._best_file(reached.best_epoch)) as arrays:
                self.best = [arrays[name] for name in arrays.files]
        return reached

    def is_due(self, interval: float, results: dict | None = None) -> bool:
        """Whether to save now: `interval` seconds have passed since the last save.

        If several processes train, all follow the chief: it requests a save, and the next step distributes the request.

        Args:
          results: of the last step; None at the end of an epoch, where all processes save.
        """
        if self.replicas is None or not self.replicas.several_processes:
            return time.monotonic() - self.saved > interval
        self.replicas.request_save(time.monotonic() - self.saved > interval)
        return results is None or float(results[SAVE]) > 0

    def save(self, reached: TrainingProgress) -> None:
        if self.chief and reached.best_epoch is not None and not self._best_file(reached.best_epoch).exists():
            with atomic_file(self._best_file(reached.best_epoch)) as part, open(part, "wb") as file:
                np.savez(file, *self.best)
        self.state.assign(json.dumps(asdict(reached)))
        self.manager.save()
        for old in self.folder.glob("best-*.npz") if self.chief else ():
            if old != self._best_file(reached.best_epoch):
                old.unlink()
        self.saved = time.monotonic()
        if self.replicas is not None:
            self.replicas.request_save(False)


class _BatchCallback(tf_keras.callbacks.Callback):
    """Updates the progress bar and the means of the epoch, stops a training that has diverged, and saves at intervals."""

    def __init__(self, saver: _Saver, reached: TrainingProgress, examples: int, batch_size: int, interval: float, bar):
        super().__init__()
        self.saver, self.reached, self.bar = saver, reached, bar
        self.total, self.batch_size, self.interval = examples, batch_size, interval
        # Keras's metrics restart with each call of `fit`, also in the middle of an epoch.
        self.before, self.started = (reached.examples, reached.loss, reached.accuracy, reached.seconds), time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        done, loss, accuracy, seconds = self.before
        new = min(self.reached.examples + self.batch_size, self.total) - self.reached.examples
        self.reached.examples += new
        since = self.reached.examples - done
        self.reached.loss = (loss * done + float(logs["cross_entropy"]) * since) / self.reached.examples
        self.reached.accuracy = (accuracy * done + float(logs["accuracy"]) * since) / self.reached.examples
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


def train(
    model: tf_keras.Model,
    task: Task,
    training: Training,
    replicas: Replicas | None = None,
    depths: Sequence[int] | None = None,
) -> tuple[pd.DataFrame, int]:
    """Trains `model`, whose output is logits, and sets it to the weights of the best epoch.

    Args:
      replicas: in whose scope `model` was built; None trains on one device.
      depths: of each trainable variable, the number of groups of layers between it and the head; see `optimizer.rate_factors`.

    Returns:
      - The history, a row per epoch with the columns HISTORY. Losses are cross entropies in nats without label smoothing; the
        learning rate is that of the epoch's last step.
      - The best epoch, counted from 1: the one with the lowest validation loss, the earliest if several have it. 0 stands for the
        initial weights, if they are a result.

    Raises:
      UserError: the loss is not finite.
    """
    settings, on_epoch = training.finetune, training.on_epoch
    interval = training.checkpoint_minutes * 60
    steps = -(-task.examples // settings.batch_size)
    losses = training_losses(settings.label_smoothing, task.class_weights)
    rates = schedule(settings, steps * settings.epochs)
    with nullcontext() if replicas is None else replicas.strategy.scope():
        model.compile(
            build_optimizer(settings, steps * settings.epochs, rate_factors(settings, model.trainable_variables, depths)),
            loss=losses,
            metrics=[
                tf_keras.metrics.CategoricalCrossentropy(name="cross_entropy", from_logits=True),
                tf_keras.metrics.CategoricalAccuracy(name="accuracy"),
            ],
        )
        model.optimizer.build(model.trainable_variables)  # otherwise Keras traces the step twice
    draw_from_steps(model, training.seed, model.optimizer.iterations)
    saver = _Saver(model, model.optimizer, training.folder, replicas)
    reached = saver.restore()
    if replicas is not None:
        replicas.install_steps(model, losses)
        replicas.check_agreement(reached.epoch, reached.examples)
    if reached.epoch or reached.examples:
        say(f"resuming in epoch {reached.epoch + 1} after {reached.examples} of {task.examples} examples")
        on_epoch(_table(reached))

    validation_steps = None if replicas is None else -(-task.held_out // settings.batch_size)

    def finish_epoch(epoch: int, values: dict[str, float]) -> None:
        """Validates, adds a row to the history, and keeps the weights if they are the best."""
        validation = model.evaluate(task.validation, verbose=0, return_dict=True, steps=validation_steps)
        loss = validation["cross_entropy"]
        if not np.isfinite(loss):
            raise UserError(f"the validation loss is {loss} after epoch {epoch}", advice="lower finetune.learning_rate")
        values = values | {"epoch": epoch, "validation_loss": loss, "validation_accuracy": validation["accuracy"]}
        reached.history.append({name: values.get(name, math.nan) for name in HISTORY})
        if min(reached.history, key=lambda item: item["validation_loss"])["epoch"] == epoch:
            reached.best_epoch, saver.best = epoch, model.get_weights()

    if task.starts_trained and not reached.history:
        finish_epoch(0, {})
        on_epoch(_table(reached))
    done = reached.epoch * task.examples + reached.examples
    with progress(total=settings.epochs * task.examples, initial=done, describe="training", unit="clip") as bar:
        while reached.epoch < settings.epochs and not _is_out_of_patience(reached, settings):
            bar.set_description(f"epoch {reached.epoch + 1}/{settings.epochs}", refresh=False)
            batches = _BatchCallback(saver, reached, task.examples, settings.batch_size, interval, bar)
            if reached.examples < task.examples:
                # Without steps_per_epoch Keras runs one more step to find the end of the data, and increments the step counter.
                left = -(-(task.examples - reached.examples) // settings.batch_size)
                batches_left = task.epoch(reached.epoch, reached.examples)
                model.fit(batches_left, epochs=1, verbose=0, callbacks=[batches], steps_per_epoch=left)
            rate = float(rates(max(int(model.optimizer.iterations.numpy()) - 1, 0)))
            finish_epoch(
                reached.epoch + 1,
                {
                    "loss": reached.loss,
                    "accuracy": reached.accuracy,
                    "learning_rate": rate,
                    "seconds": reached.seconds,
                    "examples_per_second": task.examples / max(reached.seconds, 1e-9),
                },
            )
            reached.epoch, reached.examples, reached.loss, reached.accuracy, reached.seconds = reached.epoch + 1, 0, 0.0, 0.0, 0.0
            on_epoch(_table(reached))
            if saver.is_due(interval) or reached.epoch == settings.epochs:
                saver.save(reached)
    model.set_weights(saver.best)
    return _table(reached), reached.best_epoch


def _table(reached: TrainingProgress) -> pd.DataFrame:
    return pd.DataFrame(reached.history, columns=HISTORY)


def _is_out_of_patience(reached: TrainingProgress, settings: Finetune) -> bool:
    """Whether the last `patience` epochs have not improved the validation loss."""
    return settings.patience is not None and reached.epoch - (reached.best_epoch or 0) >= settings.patience
