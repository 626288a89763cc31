"""Values and gradients of the operations of a training step equal TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf
from official.modeling import activations

from pipeline.models.movinet.network.fast_gradients import depthwise_conv2d, fused, is_large, pointwise_conv2d, slice_frames

RNG = np.random.default_rng(0)


def normal(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.normal(size=shape), tf.float32)


def values_and_gradients(function, *inputs: tf.Tensor) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
        loss = tf.reduce_sum(y**2 + y)
    return [y, *tape.gradient(loss, inputs)]


def assert_equal(function, reference, *inputs: tf.Tensor) -> None:
    expected = values_and_gradients(reference, *inputs)
    assert all(one is not None for one in expected)
    for traced in (function, tf.function(function, autograph=False)):
        for one, other in zip(values_and_gradients(traced, *inputs), expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


def test_pointwise_convolution():
    assert_equal(pointwise_conv2d, lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"), normal(3, 5, 4, 6), normal(1, 1, 6, 7))


@pytest.mark.parametrize("sides", [(3, 3), (5, 3), (1, 5)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_depthwise_convolution(sides, padding):
    assert_equal(
        lambda x, kernel: depthwise_conv2d(x, kernel, padding=padding),
        lambda x, kernel: tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), padding),
        normal(2, 7, 6, 4),
        normal(*sides, 4, 1),
    )


def test_depthwise_convolution_over_few_frames_with_an_even_kernel():
    assert_equal(
        lambda x, kernel: depthwise_conv2d(x, kernel, padding="VALID"),
        lambda x, kernel: tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID"),
        normal(2, 4, 9, 3),
        normal(4, 1, 3, 1),
    )


def test_frames():
    assert_equal(lambda x: slice_frames(x, 1, 2), lambda x: x[:, 1:3], normal(2, 4, 3, 3, 2))


@pytest.mark.parametrize("activation", [tf.nn.swish, activations.hard_swish])
def test_fused_activations(activation):
    assert_equal(fused(activation), activation, normal(2, 3, 4) * 4)
    assert_equal(fused(activation), activation, tf.constant([-100.0, -3.0, 0.0, 3.0, 100.0]))


def test_only_large_feature_maps_are_compiled():
    assert is_large(tf.zeros([1, 2, 64, 64, 4]))
    assert not is_large(tf.zeros([64, 2, 8, 8, 4]))
    sizes = []
    tf.function(lambda x: sizes.append(is_large(x))).get_concrete_function(tf.TensorSpec([2, None, 64, 64, 4]))
    assert sizes == [False]
