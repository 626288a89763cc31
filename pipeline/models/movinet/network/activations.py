"""The activations of MoViNets in TensorFlow, by name. Does not import the Model Garden."""

from collections.abc import Callable

import tensorflow as tf


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """x * relu6(x + 3) / 6 (Howard et al. 2019, MobileNetV3)."""
    return x * tf.nn.relu6(x + 3.0) / 6.0


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """clip(0.2 x + 0.5, 0, 1), the definition of Keras 2, written with operations that TensorFlow Lite has kernels for.

    The published stream networks were trained with it. In newer versions of the Model Garden the name means relu6(x + 3) / 6,
    which gives other logits.
    """
    return tf.nn.relu6(1.2 * x + 3.0) / 6.0


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "swish": tf.nn.silu,
    "hard_swish": hard_swish,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.nn.sigmoid,
    "hard_sigmoid": hard_sigmoid,
}
