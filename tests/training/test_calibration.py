"""A temperature in the weights divides the logits of every kind of model, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.cnn_rnn.network.recurrent import build_recurrent_top
from pipeline.models.movinet.network.head import build_head, head_values
from pipeline.training.calibration import divide_logits


def test_the_logits_of_a_movinets_head_are_divided():
    head = build_head(24, 5, activation="relu6", dropout=0.5, seed=1)
    head.layers[-1].bias.assign([1.0, -1, 2, 0, 3])
    features, before = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32), head_values(head)
    logits = head(features, training=False).numpy()
    divide_logits(head, 2.5)
    np.testing.assert_allclose(head(features, training=False), logits / 2.5, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(head_values(head).projection, before.projection)


@pytest.mark.parametrize("hidden", [4, None])
def test_the_logits_of_a_recurrent_top_are_divided(hidden):
    top = build_recurrent_top((6, 12), (5, 3), hidden, 4, dropout=0.5, seed=1)
    rng = np.random.default_rng(0)
    top.set_weights([rng.normal(scale=0.7, size=value.shape) for value in top.get_weights()])
    inputs = {"features": rng.normal(size=(2, 6, 12)).astype(np.float32), "mask": np.ones((2, 6), bool)}
    logits = top(inputs, training=False).numpy()
    divide_logits(top, 0.5)
    np.testing.assert_allclose(top(inputs, training=False), 2 * logits, rtol=1e-5)


def test_the_logits_of_a_movinet_are_divided_and_its_backbone_is_unchanged():
    from pipeline.models.movinet.network.build import build_backbone, build_classifier
    from pipeline.models.movinet.network.variants import VARIANTS
    from tests.models.movinet.small import small_variants

    variant = VARIANTS["a0_stream"]
    with small_variants():
        network = build_classifier(variant, build_backbone(variant), 3)
    image = {"image": tf.random.uniform([1, 3, 32, 32, 3], seed=1)}
    logits, backbone = network(image, training=False).numpy(), [value.numpy() for value in network.backbone.variables]
    divide_logits(network, 3.0)
    np.testing.assert_allclose(network(image, training=False), logits / 3, rtol=1e-4, atol=1e-7)
    for value, old in zip(network.backbone.variables, backbone, strict=True):
        np.testing.assert_array_equal(value, old)
