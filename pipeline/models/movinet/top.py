"""Builds and saves a MoViNet's head, which is trained on cached features without importing the Model Garden."""

from pathlib import Path

import tf_keras

from pipeline.artifacts import ClassifierDescription
from pipeline.models.movinet.apply import save_head
from pipeline.models.movinet.network.head import build_head, head_checkpoint_values, head_values, read_head
from pipeline.models.movinet.network.serving import replace_head
from pipeline.models.movinet.network.weights.checkpoints import count_parameters, replace_values
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
    """Implements `family.save_top`: copies checkpoint and SavedModel of the embeddings with the new head; writes `head.npz`."""
    values, prefix = head_values(top), folder / "ckpt-1"
    replace_values(embeddings / "ckpt-1", prefix, head_checkpoint_values(embeddings / "ckpt-1", values))
    save_head(values, folder / "head.npz")
    replace_head(embeddings / "saved_model", values, folder / "saved_model")
    return count_parameters(prefix)
