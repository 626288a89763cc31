"""The fast convolutions equal the Model Garden's: values, gradients, odd sizes, short clips, buffers."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling import movinet
from official.vision.modeling.layers import nn_layers

from pipeline.models.movinet.network import fast_gradients
from pipeline.models.movinet.network.build import build_backbone, freeze, set_rezero
from pipeline.models.movinet.network.fast_conv import use_fast_convolutions
from pipeline.models.movinet.network.variants import VARIANTS
from tests.models.movinet.small import small_variants

TOLERANCE = 1e-3  # relative to a tensor's largest value: float32 sums in another order, through up to 100 layers

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


LAYERS_2D = {
    "pointwise": nn_layers.Conv2D(6, 1, padding="same", use_bias=True),
    "pointwise, strided": nn_layers.Conv2D(6, 1, strides=2, padding="same", use_bias=False),
    "stem": nn_layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
    "depthwise": nn_layers.DepthwiseConv2D((3, 5), padding="same", use_bias=False),
    "depthwise, strided": nn_layers.DepthwiseConv2D(5, strides=2, padding="same"),
    "over frames": nn_layers.DepthwiseConv2D((3, 1), padding="causal", use_buffered_input=True),
    "not of a MoViNet": nn_layers.DepthwiseConv2D((3, 1), padding="causal"),
}


class Holder(tf.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


def outputs_and_gradients(layer, x, **options):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, **options)
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


@pytest.mark.parametrize("name", sorted(LAYERS_2D))
def test_a_2d_layer_gives_the_same_values_and_gradients_in_training(name):
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 7, 8, 4)), tf.float32)
    model = tf_keras.Sequential([LAYERS_2D[name]])
    stock = outputs_and_gradients(model, x, training=True)
    assert use_fast_convolutions(model) == 0
    fast = outputs_and_gradients(model, x, training=True)
    assert len(stock) == len(fast) >= 3
    for one, other in zip(stock, fast, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_pooling_gives_the_same_values_and_gradients():
    model = tf_keras.Sequential([tf_keras.layers.AveragePooling3D((1, 3, 3), (1, 2, 2), padding="same")])
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 7, 8, 4)), tf.float32)
    stock = outputs_and_gradients(model, x)
    use_fast_convolutions(model)
    for one, other in zip(stock, outputs_and_gradients(model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_clip_shorter_than_the_kernel():
    layer = nn_layers.Conv3D(4, (5, 3, 3), padding="same", groups=4)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 1, 6, 6, 4)), tf.float32)
    stock = layer(x)
    use_fast_convolutions(Holder(layer))
    np.testing.assert_allclose(layer(x), stock, rtol=1e-5, atol=1e-5)


def test_frames_and_sizes_may_be_unknown_when_tracing():
    layer = nn_layers.Conv3D(4, (3, 3, 3), padding="same", groups=4)
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 5, 6, 6, 4)), tf.float32)
    stock = layer(x)
    use_fast_convolutions(Holder(layer))
    traced = tf.function(layer.call, input_signature=[tf.TensorSpec([None, None, None, None, 4])])
    np.testing.assert_allclose(traced(x), stock, rtol=1e-5, atol=1e-5)


def test_unsupported_convolutions_are_refused():
    layer = nn_layers.Conv3D(4, (3, 3, 3), padding="same")
    layer(tf.zeros([1, 2, 4, 4, 4]))
    with pytest.raises(ValueError, match="no fast form"):
        use_fast_convolutions(Holder(layer))


def results(backbone: tf_keras.Model, *, eager: bool) -> dict[str, list]:
    """Features in inference; features, gradients and statistics of training steps with trained and with frozen batch norm.

    eager: do not trace graphs, which for such small frames takes ten times as long as running them.
    """
    x = tf.constant(np.random.default_rng(0).random((2, 3, 32, 32, 3)), tf.float32)
    before = [(variable, variable.numpy()) for variable in backbone.variables]
    found = {"features": [backbone({"image": x}, training=False)[0]["head"]]}
    for name, batch_norm in (("trained", True), ("frozen", False)):
        freeze(backbone, trainable_blocks=None, batch_norm=batch_norm)

        def step():
            with tf.GradientTape() as tape:
                head = backbone({"image": x}, training=True)[0]["head"]
                loss = tf.reduce_mean(head**2)
            return head, tape.gradient(loss, backbone.trainable_variables)

        head, gradients = step() if eager else tf.function(step, autograph=False)()
        found |= {f"{name} features": [head], f"{name} gradients": gradients}
        if batch_norm:
            found["statistics"] = [variable.numpy() for variable in backbone.non_trainable_variables]
        for variable, value in before:
            variable.assign(value)
    return found


def by_definition(layer: nn_layers.Conv3D, x: tf.Tensor) -> tf.Tensor:
    """A convolution with SAME padding by TensorFlow's conv3d; a depthwise one as a full one with zeros off the diagonal."""
    kernel = layer.kernel
    if layer.groups > 1:
        kernel = kernel * tf.eye(layer.groups, dtype=kernel.dtype)
    x = tf.nn.conv3d(x, kernel, [1, *layer.strides, 1], "SAME")
    x = tf.nn.bias_add(x, layer.bias) if layer.use_bias else x
    return layer.activation(x)


def convolve_by_definition(backbone: tf_keras.Model) -> None:
    for layer in backbone.submodules:
        if isinstance(layer, nn_layers.Conv3D):
            assert layer.padding == "same"
            layer.call = lambda x, layer=layer: by_definition(layer, x)


def stack_scalars(values: list) -> list[np.ndarray]:
    """Converts to arrays, with all scalars in one, because a single gradient of a residual scale may cancel to almost zero."""
    arrays = [np.asarray(value) for value in values]
    scalars = [array for array in arrays if array.ndim == 0]
    return [array for array in arrays if array.ndim] + ([np.stack(scalars)] if scalars else [])


def assert_equal(expected: dict[str, list], found: dict[str, list]) -> None:
    for name, values in expected.items():
        assert len(values) == len(found[name]) > 0
        values, others = stack_scalars(values), stack_scalars(found[name])
        # Relative to the tensor's own largest value, but at least to a hundredth of the largest of all: below is only rounding.
        floor = 1e-2 * max(np.abs(value).max() for value in values)
        for one, other in zip(values, others, strict=True):
            scale = max(np.abs(one).max(), floor)
            np.testing.assert_allclose(other / scale, one / scale, atol=TOLERANCE, rtol=0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("conv_type", ["3d", "3d_2plus1d", "2plus1d"])
def test_a_network_equals_the_stock_one(conv_type, monkeypatch):
    monkeypatch.setattr(fast_gradients, "FUSED", 0)
    tf_keras.utils.set_random_seed(1)
    kind = {} if conv_type == "3d" else {"causal": True, "conv_type": conv_type, "se_type": "2plus3d", "activation": "hard_swish"}
    with small_variants():
        backbone = movinet.Movinet(model_id="a0", **kind)
    set_rezero(backbone, 0.5)
    stock = results(backbone, eager=False)
    assert (use_fast_convolutions(backbone) > 20) == (conv_type != "2plus1d")
    assert_equal(stock, results(backbone, eager=False))


@pytest.mark.slow
def test_a_network_of_full_size_equals_its_definition():
    """A1, which has every kernel size and stride of A0 to A5."""
    name, found = "a1", []
    for convolutions in ("stock", "fast"):
        tf_keras.utils.set_random_seed(1)
        backbone = build_backbone(VARIANTS[name], convolutions=convolutions)
        set_rezero(backbone, 0.5)
        if convolutions == "stock":
            convolve_by_definition(backbone)
        found.append(results(backbone, eager=True))
    assert_equal(*found)
