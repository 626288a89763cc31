"""Dropout and stochastic depth whose draws follow from (seed, layer, step) alone.

Keras's own draw from a generator hidden in a kernel, which no checkpoint holds: a training that is killed and resumed would go
on with other numbers. Here the step is the optimizer's counter, which every checkpoint has, so it goes on with the same ones.
Where replicas share a batch, each draws what its rows would get in one process.
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
    """Within, a model is given only these `rows` (int32 (b,)) of a batch that replicas share."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def _uniform(shape, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Uniform in [0, 1), drawn in float32 whatever the compute type, so that precision does not change the draw."""
    rows = _rows.get()
    if rows is None:
        return tf.cast(tf.random.stateless_uniform(shape, seed=seed), dtype)
    # The first rows of a draw do not depend on how many follow: the generator counts on from element to element.
    whole = tf.concat([[tf.reduce_max(rows) + 1], shape[1:]], axis=0)
    return tf.cast(tf.gather(tf.random.stateless_uniform(whole, seed=seed), rows), dtype)


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
    """The rate of a random layer; None for any other. The Model Garden's layer is known by name: importing it takes seconds."""
    if isinstance(layer, tf_keras.layers.Dropout):
        return layer.rate
    if type(layer).__name__ == "StochasticDepth":
        return layer.get_config()["stochastic_depth_drop_rate"]
    return None


def draw_from_steps(model: tf_keras.Model, seed: int, step: tf.Variable) -> int:
    """Makes every random layer of `model` draw from (seed, its place in the model, step); returns how many there are.

    Call it before the model is first traced.

    Args:
      seed: any integer from 0 to 2**31 - 1.
      step: integer scalar variable, the optimizer's iterations.
    """
    layers = [layer for layer in model.submodules if _drop_rate(layer) is not None]
    for place, layer in enumerate(sorted(layers, key=lambda layer: layer.name)):

        def layer_seed(place=place):
            return tf.stack([tf.constant(seed * 1000 + place, tf.int64), tf.cast(step, tf.int64)])

        call = _dropout_call if isinstance(layer, tf_keras.layers.Dropout) else _stochastic_depth_call
        layer.call = functools.partial(call, _drop_rate(layer), layer_seed)
    return len(layers)
