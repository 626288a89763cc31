"""The fast convolutions give what the Model Garden's own give: values, gradients, odd sizes, short clips, buffers."""

import numpy as np
import pytest
import tensorflow as tf
from official.projects.movinet.modeling import movinet
from official.vision.modeling.layers import nn_layers

from stages.movinet.build import set_rezero
from stages.movinet.fast_conv import use_fast_convolutions

LAYERS = {
    "pointwise": {"filters": 6, "kernel_size": 1, "use_bias": True},
    "stem": {"filters": 6, "kernel_size": (1, 3, 3), "strides": (1, 2, 2)},
    "depthwise": {"filters": 4, "kernel_size": (3, 3, 3), "groups": 4},
    "depthwise, wide, strided": {"filters": 4, "kernel_size": (5, 5, 5), "strides": (1, 2, 2), "groups": 4},
    "depthwise, flat": {"filters": 4, "kernel_size": (1, 5, 5), "groups": 4},
    "depthwise, even": {"filters": 4, "kernel_size": (2, 3, 3), "groups": 4},
    "causal": {"filters": 4, "kernel_size": (3, 3, 3), "groups": 4, "padding": "causal"},
    "causal, strided": {"filters": 4, "kernel_size": (5, 3, 3), "strides": (1, 2, 2), "groups": 4, "padding": "causal"},
    "causal, buffered": {"filters": 4, "kernel_size": (3, 1, 1), "groups": 4, "padding": "causal", "use_buffered_input": True},
}


class Holder(tf.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


def outputs_and_gradients(layer, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        loss = tf.reduce_sum(y**2)
    return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize("name", sorted(LAYERS))
@pytest.mark.parametrize("shape", [(2, 4, 8, 8, 4), (1, 3, 7, 9, 4)])
def test_a_layer_gives_the_same_values_and_gradients(name, shape):
    layer = nn_layers.Conv3D(**{"padding": "same", "use_bias": False} | LAYERS[name])
    x = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    stock = outputs_and_gradients(layer, x)
    assert use_fast_convolutions(Holder(layer)) == 1
    fast = outputs_and_gradients(layer, x)
    assert len(stock) == len(fast) >= 3
    for one, other in zip(stock, fast, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_clip_shorter_than_the_kernel_reaches():
    layer = nn_layers.Conv3D(4, (5, 3, 3), padding="same", groups=4)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 1, 6, 6, 4)), tf.float32)
    stock = layer(x)
    use_fast_convolutions(Holder(layer))
    np.testing.assert_allclose(layer(x), stock, rtol=1e-5, atol=1e-5)


def test_unknown_numbers_of_frames_and_sizes_are_traced():
    layer = nn_layers.Conv3D(4, (3, 3, 3), padding="same", groups=4)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 5, 6, 6, 4)), tf.float32)
    stock = layer(x)
    use_fast_convolutions(Holder(layer))
    traced = tf.function(layer.call, input_signature=[tf.TensorSpec([None, None, None, None, 4])])
    np.testing.assert_allclose(traced(x), stock, rtol=1e-5, atol=1e-5)


def test_a_kind_it_does_not_know_is_refused():
    layer = nn_layers.Conv3D(4, (3, 3, 3), padding="same")
    layer(tf.zeros([1, 2, 4, 4, 4]))
    with pytest.raises(ValueError, match="no fast form"):
        use_fast_convolutions(Holder(layer))


@pytest.mark.slow
def test_a0_gives_the_same_features_and_batch_norm_statistics():
    backbone = movinet.Movinet(model_id="a0")
    set_rezero(backbone, 0.5)
    before = backbone.get_weights()
    x = {"image": tf.constant(np.random.default_rng(0).random((2, 4, 32, 32, 3)), tf.float32)}

    def results():
        backbone.set_weights(before)
        inference = backbone(x, training=False)[0]["head"]
        trained = backbone(x, training=True)[0]["head"]
        return [inference, trained, *backbone.non_trainable_variables]

    stock = [tf.identity(value) for value in results()]
    assert use_fast_convolutions(backbone) > 50
    for one, other in zip(stock, results(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
