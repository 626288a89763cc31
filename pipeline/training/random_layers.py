"""Dropout and stochastic depth whose random numbers are a function of (seed, layer, step) alone.

Keras's own layers use the state of a random generator inside a kernel, which no checkpoint contains: a resumed training would
draw different numbers. Here the step is the optimizer's counter, which every checkpoint contains.

Invariants: a resumed training draws what an uninterrupted one draws. If replicas divide a batch, each row gets the numbers that
it would get in one process.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf
import tf_keras

__all__ = ["draw_from_steps", "rows_of_batch"]

_rows: ContextVar[tf.Tensor | None] = ContextVar("rows", default=None)


@contextmanager
def rows_of_batch(rows: tf.Tensor) -> Iterator[None]:
    """A context in which a model's inputs are only these rows (int32 (b,)) of a global batch."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def _uniform(shape, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Uniform numbers in [0, 1), drawn in float32 and cast to `dtype`, so that they do not depend on the compute precision."""
    rows = _rows.get()
    if rows is None:
        return tf.cast(tf.random.stateless_uniform(shape, seed=seed), dtype)
    # The generator is counter-based: the first rows of a tensor do not depend on the number of rows.
    batch_shape = tf.concat([[tf.reduce_max(rows) + 1], shape[1:]], axis=0)
    return tf.cast(tf.gather(tf.random.stateless_uniform(batch_shape, seed=seed), rows), dtype)


def _dropout_call(rate: float, seed, inputs: tf.Tensor, training=None) -> tf.Tensor:
    if not training or rate == 0:
        return inputs
    keep = tf.cast(_uniform(tf.shape(inputs), seed(), tf.float32) >= rate, inputs.dtype)
    return inputs * keep / (1.0 - rate)


def _stochastic_depth_call(rate: float, seed, inputs: tf.Tensor, training=None) -> tf.Tensor:
    if training is None:
        training = tf_keras.backend.learning_phase()
    if not training or not rate:
        return inputs
    shape = tf.concat([tf.shape(inputs)[:1], tf.ones([inputs.shape.rank - 1], tf.int32)], axis=0)
    keep = tf.cast(_uniform(shape, seed(), tf.float32) >= rate, inputs.dtype)
    return inputs * keep / (1.0 - rate)


def _drop_rate(layer: tf.Module) -> float | None:
    """The drop rate of a random layer; None for other layers."""
    if isinstance(layer, tf_keras.layers.Dropout):
        return layer.rate
    if type(layer).__name__ == "StochasticDepth":  # the Model Garden's, whose import would take seconds
        return layer.get_config()["stochastic_depth_drop_rate"]
    return None


def draw_from_steps(model: tf_keras.Model, seed: int, step: tf.Variable) -> int:
    """Replaces the `call` of every random layer of `model`; returns the number of these layers.

    Call it before the model is first traced.

    Args:
      seed: any integer from 0 to 2**31 - 1.
      step: integer scalar variable, the optimizer's `iterations`.
    """
    layers = [layer for layer in model.submodules if _drop_rate(layer) is not None]
    for index, layer in enumerate(sorted(layers, key=lambda layer: layer.name)):

        def layer_seed(index=index):
            return tf.stack([tf.constant(seed * 1000 + index, tf.int64), tf.cast(step, tf.int64)])

        call = _dropout_call if isinstance(layer, tf_keras.layers.Dropout) else _stochastic_depth_call
        layer.call = functools.partial(call, _drop_rate(layer), layer_seed)
    return len(layers)
