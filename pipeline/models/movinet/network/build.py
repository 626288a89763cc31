"""Builds MoViNets through the Model Garden. Importing this module takes seconds and 0.75 GB: only embed and finetune need it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling import movinet, movinet_model
from official.vision.modeling.layers import nn_layers

from pipeline.models.movinet.network.fast_conv import use_fast_convolutions
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, Variant

logging.getLogger("absl").setLevel(logging.ERROR)

KERAS_BATCH_NORM_MOMENTUM = 0.99  # the Model Garden's, and that of the published weights


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """clip(0.2 x + 0.5, 0, 1), as Keras 2 defines it, written so that TensorFlow Lite makes of it what it has kernels for.

    Published stream networks were trained with this one, by its name. Later the Model Garden gave the name to relu6(x + 3) / 6,
    with which their logits differ.
    """
    return tf.nn.relu6(1.2 * x + 3.0) / 6.0


def _choose_convolutions(model: tf_keras.Model, convolutions: str) -> None:
    if convolutions == "fast" or (convolutions == "auto" and not tf.config.list_physical_devices("GPU")):
        use_fast_convolutions(model)


def _without_autograph(model: tf_keras.Model) -> tf_keras.Model:
    """Traces the model's Python as it stands. It has nothing to convert, and converting takes longer than tracing."""
    model.call = tf.autograph.experimental.do_not_convert(model.call)
    return model


@contextmanager
def _known_outputs(backbone: movinet.Movinet) -> Iterator[None]:
    """Has Keras take the backbone's outputs to be of the kind they were found to be, in place of tracing all of it once more."""
    call = backbone.call

    def outputs(inputs, training=None, mask=None):
        return tf.nest.map_structure(lambda one: tf.raw_ops.Placeholder(dtype=one.dtype, shape=one.shape), backbone.output)

    backbone.call = outputs
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
    """The backbone of `variant`, with random weights.

    Called with {"image": float32 (B, T, H, W, 3) in [0, 1]} it gives (endpoints, states), endpoints["head"] being
    (B, 1, 1, 1, features). T, H and W are free.

    Args:
      stochastic_depth: drop rate of the last block; earlier blocks' rates rise to it linearly.
      batch_norm_momentum: of the moving statistics, when batch norm trains.
      convolutions: "auto" (fast unless there is a GPU), "fast" or "stock"; see `fast_conv`.
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
    """A classifier on `backbone`, which it shares; float32 (B, num_classes) logits of {"image": (B, T, H, W, 3)}.

    Args:
      dropout: before the last layer; None = as published.
      convolutions: of the head; the backbone keeps its own.
    """
    with _known_outputs(backbone):
        classifier = movinet_model.MovinetClassifier(
            backbone,
            num_classes=num_classes,
            activation=variant.activation,
            dropout_rate=variant.dropout if dropout is None else dropout,
        )
    _choose_convolutions(classifier.layers[-1], convolutions)
    return _without_autograph(classifier)


def set_rezero(backbone: movinet.Movinet, value: float) -> None:
    """Sets the learnt scale of every residual branch. The Model Garden starts them at 0, where each block is an identity."""
    for layer in backbone.submodules:
        if isinstance(layer, nn_layers.Scale):
            layer.trainable_weights[0].assign(value)


def batch_norm_layers(model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [layer for layer in model.submodules if isinstance(layer, tf_keras.layers.BatchNormalization)]


def freeze(backbone: movinet.Movinet, *, trainable_blocks: int | None, batch_norm: bool) -> None:
    """Chooses what trains: the last `trainable_blocks` blocks and what follows them (None = everything), batch norm or not.

    A frozen batch norm uses its moving statistics in training too.

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
