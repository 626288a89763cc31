"""The head: NumPy, TensorFlow and Keras give equal probabilities, also after saving and loading."""

import numpy as np
import pytest

from pipeline.models.movinet.apply import HeadValues, head_probabilities, load_head, save_head
from pipeline.models.movinet.network.head import apply_head, build_head, head_values

OF_HEADS = ["hard_swish", "relu6", "swish"]  # other activations are only in backbones


@pytest.mark.parametrize("activation", OF_HEADS)
def test_numpy_and_tensorflow_agree(activation, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"projection": (24, 2048), "projection_bias": 2048, "classifier": (2048, 5), "classifier_bias": 5}
    values = HeadValues(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    features = rng.normal(size=(7, 24)).astype(np.float32)
    save_head(values, tmp_path / "head.npz")
    found = head_probabilities(features, load_head(tmp_path / "head.npz"), activation)
    np.testing.assert_allclose(found, apply_head(features, values, activation), rtol=1e-4, atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_large_values_do_not_overflow():
    values = HeadValues(*(np.full(shape, 1e3, np.float32) for shape in ((2, 4), (4,), (4, 3), (3,))))
    for activation in OF_HEADS:
        with np.errstate(over="raise", invalid="raise"):
            assert np.isfinite(head_probabilities(np.ones((1, 2), np.float32), values, activation)).all()


def test_the_weights_of_a_keras_head_give_its_probabilities(tmp_path):
    head = build_head(24, 5, activation="hard_swish", dropout=0.5, seed=1)
    features = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    logits = head(features, training=False).numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head_probabilities(features, head_values(head), "hard_swish"), expected, rtol=1e-4, atol=1e-6)
