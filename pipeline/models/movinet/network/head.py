"""The classifier's head as a Keras model, to train it on cached features without importing the Model Garden.

It is the Model Garden's `ClassifierHead`: a dense layer, an activation, dropout, a dense layer. `saved_head` reads and writes its
weights.
"""

import tensorflow as tf
import tf_keras

from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.activations import ACTIVATIONS
from pipeline.models.movinet.network.variants import HEAD_FILTERS

CLASSIFIER_STDDEV = 0.01  # of the last layer's initial weights, as in the Model Garden


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
