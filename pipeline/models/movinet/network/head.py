"""The classifier's head as a Keras model, to train it on cached features without importing the Model Garden.

It is the Model Garden's `ClassifierHead`: a dense layer, an activation, dropout, a dense layer. Its weights are read from and
written to the checkpoint of the classifier, under the published keys, as kernels of pointwise convolutions.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.variants import HEAD_FILTERS
from pipeline.models.movinet.network.weights.checkpoints import VALUE

CLASSIFIER_STDDEV = 0.01  # of the last layer's initial weights, as in the Model Garden


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """x * relu6(x + 3) / 6 (Howard et al. 2019, MobileNetV3)."""
    return x * tf.nn.relu6(x + 3.0) / 6.0


ACTIVATIONS: dict[str, Callable] = {"swish": tf.nn.silu, "hard_swish": hard_swish, "relu6": tf.nn.relu6}


def head_keys(keys) -> dict[str, str]:
    """Finds the keys of the head's four variables among a checkpoint's keys; returns them by field of HeadValues."""
    found = {}
    for field, layer, variable in (
        ("projection", "_head", "kernel"),
        ("projection_bias", "_head", "bias"),
        ("classifier", "_classifier", "kernel"),
        ("classifier_bias", "_classifier", "bias"),
    ):
        matches = [key for key in keys if f"/{layer}/" in key and key.endswith(f"/{variable}{VALUE}")]
        if len(matches) != 1:
            raise ValueError(f"the checkpoint should have one key of {layer} {variable}, but it has {len(matches)}")
        found[field] = matches[0]
    return found


def read_head(prefix: Path) -> HeadValues:
    """Reads the head's weights from a classifier's checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    keys = head_keys(reader.get_variable_to_shape_map())
    arrays = {field: reader.get_tensor(key) for field, key in keys.items()}
    return HeadValues(**{field: array.reshape(array.shape[-2:] if array.ndim > 1 else -1) for field, array in arrays.items()})


def head_checkpoint_values(prefix: Path, values: HeadValues) -> dict[str, np.ndarray]:
    """The weights by key of the checkpoint at `prefix`, in the shapes of its kernels (1, 1[, 1], in, out)."""
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    result = {}
    for field, key in head_keys(shapes).items():
        array = np.asarray(getattr(values, field), np.float32)
        leading = (1,) * (len(shapes[key]) - array.ndim)
        result[key] = array.reshape(leading + array.shape)
    return result


def build_head(features: int, classes: int, *, activation: str, dropout: float, seed: int) -> tf_keras.Model:
    """A new head: float32 (B, features) -> logits float32 (B, classes)."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer([features]),
            tf_keras.layers.Dense(
                HEAD_FILTERS,
                activation=ACTIVATIONS[activation],
                kernel_initializer=tf_keras.initializers.HeNormal(seed=seed),
                name="projection",
            ),
            tf_keras.layers.Dropout(dropout, name="dropout"),
            tf_keras.layers.Dense(
                classes,
                kernel_initializer=tf_keras.initializers.RandomNormal(stddev=CLASSIFIER_STDDEV, seed=seed + 1),
                dtype="float32",
                name="classifier",
            ),
        ],
        name="head",
    )


def head_values(head: tf_keras.Model) -> HeadValues:
    return HeadValues(*head.get_weights())


def apply_head(features: tf.Tensor, values: HeadValues, activation: str) -> tf.Tensor:
    """Probabilities float32 (B, classes) of features float32 (B, P); `values` may hold arrays or variables."""
    hidden = ACTIVATIONS[activation](tf.linalg.matmul(features, values.projection) + values.projection_bias)
    return tf.nn.softmax(tf.linalg.matmul(hidden, values.classifier) + values.classifier_bias)
