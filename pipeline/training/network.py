"""Trains the last blocks or the whole network on the records, on one device or on replicas."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription, FramesSummary
from pipeline.models.family import build_network, plain_network, save_network
from pipeline.training.calibration import Decide, divide_logits, network_logits
from pipeline.training.datasets import ViewRecipe, training_epoch, validation_views
from pipeline.training.loop import Task, Training, train
from pipeline.training.outputs import write_classifier

if TYPE_CHECKING:
    from pipeline.training.batch_shards import BatchShard
    from pipeline.training.replicas import Replicas


def train_network(
    training: Training,
    description: ClassifierDescription,
    recipe: ViewRecipe,
    frames: Path,
    out: Path,
    decide: Decide,
    replicas: "Replicas | None" = None,
    *,
    inference_batch: int,
) -> pd.DataFrame:
    """Trains on the records in `frames`. Returns the history. The chief writes the calibrated classifier to `out`.

    inference_batch: number of views at a time when the validation clips are run for calibration.
    """
    summary, batch_size = FramesSummary.of(frames), training.finetune.batch_size
    train_files, held_out_files = (summary.files(frames, split) for split in ("train", "validation"))
    clips, held_out = summary.splits["train"].clips, summary.splits["validation"].clips

    tf_keras.mixed_precision.set_global_policy(training.finetune.precision)
    try:
        with nullcontext() if replicas is None else replicas.strategy.scope():
            network = build_network(training.model, training.finetune, len(summary.classes), training.seed)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")

    def epoch(number: int, first: int, shard: "BatchShard | None" = None) -> tf.data.Dataset:
        return training_epoch(train_files, clips, recipe, batch_size=batch_size, epoch=number, first=first, shard=shard)

    def validation(shard: "BatchShard | None" = None) -> tf.data.Dataset:
        return validation_views(held_out_files, held_out, recipe, batch_size=batch_size, shard=shard)

    if replicas is None:
        task = Task(clips, epoch, validation(), held_out)
    else:
        task = Task(
            clips,
            lambda number, first: replicas.distribute(lambda shard: epoch(number, first, shard)),
            replicas.distribute(validation),
            held_out,
        )
    history, best_epoch = train(network, task, training, replicas)
    if replicas is None or replicas.chief:
        portable = training.finetune.precision == "float32" and replicas is None
        plain = plain_network(training.model, network, len(summary.classes), portable=portable)
        logits = network_logits(plain, held_out_files, held_out, description.views, recipe.sampling, inference_batch)
        decision = decide(*logits)
        divide_logits(plain, decision.temperature)
        write_classifier(out, description, best_epoch, decision, lambda part: save_network(plain, part, description))
    return history
