"""The last blocks or the whole network trained on the records, on one device or on replicas."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription, FramesSummary
from pipeline.models.family import build_network, save_network
from pipeline.training.datasets import ViewRecipe, training_epoch, validation_views
from pipeline.training.loop import Task, Training, train
from pipeline.training.outputs import write_classifier

if TYPE_CHECKING:
    from pipeline.training.batch_shards import BatchShard
    from pipeline.training.replicas import Replicas


def train_network(
    how: Training,
    description: ClassifierDescription,
    recipe: ViewRecipe,
    frames: Path,
    out: Path,
    replicas: "Replicas | None" = None,
) -> pd.DataFrame:
    """Trains on the records in `frames` and writes the classifier to `out`, on the chief alone. Returns the history."""
    summary, batch_size = FramesSummary.of(frames), how.finetune.batch_size
    train_files, held_out_files = (summary.files(frames, split) for split in ("train", "validation"))
    clips, held_out = summary.splits["train"].clips, summary.splits["validation"].clips

    tf_keras.mixed_precision.set_global_policy(how.finetune.precision)
    try:
        with nullcontext() if replicas is None else replicas.strategy.scope():
            network = build_network(how.model, how.finetune, len(summary.classes), how.seed)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")

    def epoch(number: int, first: int, share: "BatchShard | None" = None) -> tf.data.Dataset:
        return training_epoch(train_files, clips, recipe, batch_size=batch_size, epoch=number, first=first, share=share)

    def validation(share: "BatchShard | None" = None) -> tf.data.Dataset:
        return validation_views(held_out_files, held_out, recipe, batch_size=batch_size, share=share)

    if replicas is None:
        task = Task(clips, epoch, validation(), held_out)
    else:
        task = Task(
            clips,
            lambda number, first: replicas.distribute(lambda share: epoch(number, first, share)),
            replicas.distribute(validation),
            held_out,
        )
    history, best_epoch = train(network, task, how, replicas)
    if replicas is None or replicas.chief:
        portable = how.finetune.precision == "float32" and replicas is None
        write_classifier(out, description, best_epoch, lambda part: save_network(network, part, description, portable=portable))
    return history
