"""The recurrent top: a Keras model for training, and a function of constants for serving and streaming."""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from pipeline.models.cnn_rnn.apply import TopValues


def build_recurrent_top(
    shape: tuple[int, int], units: Sequence[int], hidden: int | None, num_classes: int, *, dropout: float, seed: int
) -> tf_keras.Model:
    """A new top: {"features": float32 (B, T, P), "mask": bool (B, T)} -> logits float32 (B, num_classes).

    Args:
      shape: (T, P).
      units: of each GRU. hidden: of the dense layer before the last; None for no such layer.
      dropout: rate before the dense layers.
    """
    tf_keras.utils.set_random_seed(seed)
    features = tf_keras.Input(shape, name="features")
    mask = tf_keras.Input(shape[:1], dtype=tf.bool, name="mask")
    x = features
    for number, width in enumerate(units, 1):
        # Unrolled: the fused kernel would check in every batch that masked steps are at the end, and there are few steps.
        x = tf_keras.layers.GRU(width, return_sequences=number < len(units), unroll=True, name=f"gru{number}")(x, mask=mask)
    x = tf_keras.layers.Dropout(dropout, name="dropout")(x)
    if hidden is not None:
        x = tf_keras.layers.Dense(hidden, activation="relu", name="hidden")(x)
    logits = tf_keras.layers.Dense(num_classes, dtype="float32", name="classifier")(x)
    return tf_keras.Model({"features": features, "mask": mask}, logits, name="top")


class RecurrentTop:
    """The top with constant weights, one step per frame, so that it can stop and continue after any frame."""

    def __init__(self, values: TopValues):
        self.values = values
        self.units = [len(recurrent) for _, recurrent, _ in values.recurrent]

    def start(self, batch: int | tf.Tensor) -> list[tf.Tensor]:
        """The states before the first frame: for each layer zeros (batch, units)."""
        return [tf.zeros([batch, units]) for units in self.units]

    def step(self, features: tf.Tensor, states: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The states after one more frame, features float32 (B, P)."""
        x, new = features, []
        for (kernel, recurrent, bias), state in zip(self.values.recurrent, states, strict=True):
            inputs = tf.split(tf.linalg.matmul(x, kernel) + bias[0], 3, axis=-1)
            gates = tf.split(tf.linalg.matmul(state, recurrent) + bias[1], 3, axis=-1)
            update, reset = tf.sigmoid(inputs[0] + gates[0]), tf.sigmoid(inputs[1] + gates[1])
            candidate = tf.tanh(inputs[2] + reset * gates[2])
            x = candidate + update * (state - candidate)
            new.append(x)
        return new

    def run(self, features: tf.Tensor, states: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The states after all frames of features float32 (B, T, P)."""
        states = list(states)
        if features.shape[1] is not None:
            for frame in tf.unstack(features, axis=1):
                states = self.step(frame, states)
            return states
        by_time = tf.transpose(features, [1, 0, 2])
        _, states = tf.while_loop(
            lambda index, states: index < tf.shape(by_time)[0],
            lambda index, states: (index + 1, self.step(by_time[index], states)),
            (0, states),
        )
        return list(states)

    def logits(self, states: Sequence[tf.Tensor]) -> tf.Tensor:
        """Logits float32 (B, classes), from the state of the last layer."""
        x = states[-1]
        for number, (kernel, bias) in enumerate(self.values.dense, 1):
            x = tf.linalg.matmul(x, kernel) + bias
            x = tf.nn.relu(x) if number < len(self.values.dense) else x
        return x
