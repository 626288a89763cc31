"""Builds and saves a MoViNet's head, which is trained on cached features without importing the Model Garden."""

from pathlib import Path

import tf_keras

from pipeline.artifacts import ClassifierDescription
from pipeline.models.movinet.network.head import build_head, head_values
from pipeline.models.movinet.network.saved_head import read_head, write_head
from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune


def build_top(model: Settings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> tf_keras.Model:
    variant = model.variant
    dropout = variant.dropout if finetune.dropout is None else finetune.dropout
    head = build_head(variant.features, num_classes, activation=variant.activation, dropout=dropout, seed=seed)
    if finetune.reuse_projection:
        start = read_head(embeddings / "ckpt-1")
        head.get_layer("projection").set_weights([start.projection, start.projection_bias])
    return head


def save_top(top: tf_keras.Model, embeddings: Path, folder: Path, description: ClassifierDescription) -> int:
    """Implements `family.save_top`."""
    return write_head(head_values(top), embeddings, folder)
