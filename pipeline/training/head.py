"""A head trained on what the frozen backbone made of the clips: seconds, without the Model Garden."""

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from pipeline.files import read_json
from pipeline.models.movinet.checkpoints import replace_values
from pipeline.models.movinet.head import build_head, head_checkpoint_values, read_head, values_of
from pipeline.models.movinet.serving import replace_head
from pipeline.models.movinet.variants import variant_of
from pipeline.params import Params
from pipeline.training.datasets import feature_epoch
from pipeline.training.loop import OnEpoch, Task, train
from pipeline.training.outputs import write_classifier


def train_head(params: Params, embeddings: Path, out: Path, folder: Path, on_epoch: OnEpoch) -> pd.DataFrame:
    """Trains a head on the cached features in `embeddings`; what is served is copied with its values. Returns the history."""
    made = read_json(embeddings / "embed.json")
    classes, settings = made["classes"], params.finetune
    features = tf.constant(np.load(embeddings / "train.npy").reshape(-1, made["features"]))
    labels = tf.constant(np.load(embeddings / "train_labels.npy").reshape(-1))
    held_out, held_out_labels = np.load(embeddings / "validation.npy"), np.load(embeddings / "validation_labels.npy")
    middle = held_out.shape[1] // 2
    one_hot = np.eye(len(classes), dtype=np.float32)[held_out_labels[:, middle]]

    head = build_head(
        made["features"],
        len(classes),
        activation=made["activation"],
        dropout=made["dropout"] if settings.dropout is None else settings.dropout,
        seed=params.seed,
    )
    start = read_head(embeddings / "ckpt-1")
    if settings.reuse_projection:
        head.get_layer("projection").set_weights([start.projection, start.projection_bias])
    task = Task(
        examples=int(features.shape[0]),
        epoch=lambda epoch, first: feature_epoch(
            features, labels, len(classes), batch_size=settings.batch_size, seed=params.seed, epoch=epoch, first=first
        ),
        validation=tf.data.Dataset.from_tensor_slices((held_out[:, middle], one_hot)).batch(settings.batch_size),
        held_out=len(one_hot),
    )
    history, best_epoch = train(head, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch)

    def write_checkpoint(prefix: Path) -> None:
        source = embeddings / "ckpt-1"
        replace_values(source, prefix, head_checkpoint_values(source, values_of(head)))

    def write_saved_model(target: Path) -> None:
        replace_head(embeddings / "saved_model", values_of(head), target)

    write_classifier(out, params, classes, variant_of(params.model), best_epoch, write_checkpoint, write_saved_model)
    return history
