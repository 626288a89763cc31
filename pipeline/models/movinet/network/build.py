"""Builds MoViNets with the Model Garden. Importing this module takes seconds and 0.75 GB of memory."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling import movinet, movinet_model
from official.vision.modeling.layers import nn_layers

from pipeline.models.movinet.network.activations import hard_sigmoid
from pipeline.models.movinet.network.fast_conv import use_fast_convolutions
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, Variant

logging.getLogger("absl").setLevel(logging.ERROR)

KERAS_BATCH_NORM_MOMENTUM = 0.99  # the Model Garden's default, also used for the published weights


def _choose_convolutions(model: tf_keras.Model, convolutions: str) -> None:
    if convolutions == "fast" or (convolutions == "auto" and not tf.config.list_physical_devices("GPU")):
        use_fast_convolutions(model)


def _without_autograph(model: tf_keras.Model) -> tf_keras.Model:
    """Disables AutoGraph for the model, which has no Python control flow to convert; converting takes longer than tracing."""
    model.call = tf.autograph.experimental.do_not_convert(model.call)
    return model


@contextmanager
def _without_tracing(backbone: movinet.Movinet) -> Iterator[None]:
    """Makes Keras use the known specs of the backbone's outputs while a model is built on it, instead of tracing it again."""
    call = backbone.call

    def placeholders(inputs, training=None, mask=None):
        return tf.nest.map_structure(lambda one: tf.raw_ops.Placeholder(dtype=one.dtype, shape=one.shape), backbone.output)

    backbone.call = placeholders
    try:
        yield
    finally:
        backbone.call = call


@tf.autograph.experimental.do_not_convert
def build_backbone(
    variant: Variant,
    *,
    stochastic_depth: float = 0.0,
    batch_norm_momentum: float = KERAS_BATCH_NORM_MOMENTUM,
    convolutions: str = "auto",
) -> movinet.Movinet:
    """Builds the backbone of `variant` with random weights.

    Its input is {"image": float32 (B, T, H, W, 3) in [0, 1]} with any T, H and W. It returns (endpoints, states);
    endpoints["head"] is (B, 1, 1, 1, features).

    Args:
      stochastic_depth: drop rate of the last block; the rates of earlier blocks increase linearly up to it.
      batch_norm_momentum: of the moving statistics, if batch norm is trained.
      convolutions: "fast" (see `fast_conv`), "stock" (the Model Garden's), or "auto": fast unless there is a GPU.
    """
    builder = dict(variant.builder)
    if builder["gating_activation"] == "hard_sigmoid":
        builder["gating_activation"] = hard_sigmoid
    backbone = movinet.Movinet(
        model_id=variant.family,
        stochastic_depth_drop_rate=stochastic_depth,
        norm_momentum=batch_norm_momentum,
        **builder,
    )
    _choose_convolutions(backbone, convolutions)
    return _without_autograph(backbone)


@tf.autograph.experimental.do_not_convert
def build_classifier(
    variant: Variant,
    backbone: movinet.Movinet,
    num_classes: int = KINETICS_CLASSES,
    *,
    dropout: float | None = None,
    convolutions: str = "auto",
) -> movinet_model.MovinetClassifier:
    """Builds a classifier on `backbone`, without copying it: {"image": (B, T, H, W, 3)} -> logits float32 (B, num_classes).

    Args:
      dropout: rate before the last layer; None is the published one.
      convolutions: of the head; those of the backbone are not changed.
    """
    with _without_tracing(backbone):
        classifier = movinet_model.MovinetClassifier(
            backbone,
            num_classes=num_classes,
            activation=variant.activation,
            dropout_rate=variant.dropout if dropout is None else dropout,
        )
    _choose_convolutions(classifier.layers[-1], convolutions)
    return _without_autograph(classifier)


def set_rezero(backbone: movinet.Movinet, value: float) -> None:
    """Sets the learned scale of every residual branch. The Model Garden initializes them to 0, where a block is the identity."""
    for layer in backbone.submodules:
        if isinstance(layer, nn_layers.Scale):
            layer.trainable_weights[0].assign(value)


def batch_norm_layers(model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.BatchNormalization)]


def freeze(backbone: movinet.Movinet, *, trainable_blocks: int | None, batch_norm: bool) -> None:
    """Freezes layers of the backbone.

    Args:
      trainable_blocks: number of last blocks that are trained, with the layers after them; None trains all.
      batch_norm: whether batch norm is trained. If not, it uses its moving statistics in training, too.

    Raises:
      ValueError: the backbone has fewer blocks.
    """
    backbone.trainable = True
    if trainable_blocks is not None:
        blocks = [layer.name for layer in backbone.layers if layer.name.startswith("block")]
        if trainable_blocks > len(blocks):
            raise ValueError(f"finetune.blocks = {trainable_blocks}, but this model has {len(blocks)} blocks")
        first = blocks[len(blocks) - trainable_blocks]
        for layer in backbone.layers:
            if layer.name == first:
                break
            layer.trainable = False
    if not batch_norm:
        for layer in batch_norm_layers(backbone):
            layer.trainable = False
