"""The network that is trained: it takes a top's weights, and its layers know how far they are from the head."""

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.models.movinet.settings import Settings
from pipeline.models.movinet.training import layer_depths, set_top
from tests.models.movinet.small import small_movinet

SETTINGS = Settings.of_id("a0")


def test_a_network_with_a_tops_weights_gives_the_tops_logits(monkeypatch):
    network = small_movinet(monkeypatch, classes=3)
    for variable in network.variables:
        if "moving_variance" in variable.name:
            variable.assign(tf.abs(variable) + 0.1)
    views = tf.constant(np.random.default_rng(2).random((2, 3, 32, 32, 3)), tf.float32)
    features = tf.reshape(network.backbone({"image": views}, training=False)[0]["head"], [2, -1])
    top = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer([features.shape[1]]),
            tf_keras.layers.Dense(16, "swish", bias_initializer="ones"),
            tf_keras.layers.Dropout(0.3),
            tf_keras.layers.Dense(3, bias_initializer="random_normal"),
        ]
    )
    set_top(SETTINGS, network, top)
    expected = top(features, training=False).numpy()
    np.testing.assert_allclose(network({"image": views}, training=False), expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_depths_count_the_groups_of_layers_from_the_head(monkeypatch):
    network = small_movinet(monkeypatch, classes=3)
    depths = dict(zip([variable.name for variable in network.trainable_variables], layer_depths(SETTINGS, network), strict=True))
    assert {depth for name, depth in depths.items() if name.startswith("classifier_head")} == {0}
    assert {depth for name, depth in depths.items() if name.startswith(("block0", "head"))} == {1}
    assert {depth for name, depth in depths.items() if name.startswith("stem")} == {2}
    network.backbone.trainable = False
    assert set(layer_depths(SETTINGS, network)) == {0}
