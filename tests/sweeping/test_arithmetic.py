"""Operations and parameters against a count by hand, and against the layers of a whole network."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.movinet.network.weights.copying import count_parameters
from pipeline.sweeping.arithmetic import flops


class Small(tf.Module):
    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.ones([3, 3, 2, 5]))
        self.depthwise = tf.Variable(tf.ones([3, 3, 5, 1]))
        self.matrix = tf.Variable(tf.ones([5, 7]))

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 2], tf.float32)])
    def compute(self, x):
        y = tf.nn.conv2d(x, self.kernel, 2, "SAME")
        y = tf.nn.depthwise_conv2d(y, self.depthwise, [1, 1, 1, 1], "SAME")
        return tf.reshape(y, [-1, 5]) @ self.matrix


def test_a_small_network_is_counted_by_hand(tmp_path):
    expected = 2 * 3 * 16 * (5 * 18 + 5 * 9 + 5 * 7)  # 3 images of 4 x 4 positions
    small = Small()
    spec = tf.TensorSpec([3, 8, 8, 2], tf.float32)
    assert flops(small.compute, spec) == expected
    tf.saved_model.save(small, str(tmp_path))
    assert flops(tf.saved_model.load(str(tmp_path)).compute, spec) == expected


def test_operations_that_cannot_be_counted_are_refused():
    with pytest.raises(ValueError, match=r"cannot count what .*Einsum"):
        flops(lambda x: tf.einsum("ij,jk->ik", x, tf.transpose(x)), tf.TensorSpec([2, 3], tf.float32))
    with pytest.raises(ValueError, match="does not follow"):
        flops(lambda x: tf.boolean_mask(x, x[:, 0] > 0) @ tf.ones([3, 2]), tf.TensorSpec([2, 3], tf.float32))


@pytest.mark.slow
def test_a0_is_counted_layer_by_layer(tmp_path):
    """Layer by layer, less the products with frames beyond the clip's ends, which our convolutions leave out."""
    from official.vision.modeling.layers import nn_layers

    from pipeline.models.movinet.network.build import build_backbone, build_classifier
    from pipeline.models.movinet.network.variants import VARIANTS

    classifier = build_classifier(VARIANTS["a0"], build_backbone(VARIANTS["a0"], convolutions="fast"), 600, convolutions="fast")
    counted = flops(lambda x: classifier({"image": x}, training=False), tf.TensorSpec([1, 8, 64, 64, 3], tf.float32))
    total = 0
    for layer in [layer for layer in classifier.submodules if isinstance(layer, nn_layers.Conv3D)]:

        def call(x, layer=layer, before=layer.call):
            nonlocal total
            y = before(x)
            inner = math.prod(y.shape[2:]) * math.prod(layer.kernel.shape[1:-1])
            taps, frames = layer.kernel_size[0], y.shape[1]
            strided = layer.strides[1] > 1
            reached = [frames if strided else frames - abs(tap - (taps - 1) // 2) for tap in range(taps)]
            total += 2 * inner * sum(max(count, 0) for count in reached)
            return y

        layer.call = call
    classifier({"image": np.zeros([1, 8, 64, 64, 3], np.float32)}, training=False)
    assert counted == total
    prefix = tf.train.Checkpoint(model=classifier).write(str(tmp_path / "ckpt-1"))
    assert count_parameters(prefix) == sum(math.prod(variable.shape) for variable in classifier.trainable_variables) == 3_111_799
