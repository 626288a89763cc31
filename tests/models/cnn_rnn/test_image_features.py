"""The image networks: the table agrees with Keras's networks, and weights are restored or refused with a one-line error."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.models.cnn_rnn.check import check_weights
from pipeline.models.cnn_rnn.frozen import open_features
from pipeline.models.cnn_rnn.network.image_features import (
    ImageFeatures,
    build_image_network,
    save_image_features,
    values_digest,
)
from pipeline.models.cnn_rnn.network.image_networks import NETWORKS
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.sweeping.arithmetic import flops
from pipeline.video.sampling import Sampling

SIZE = 32


def model(network: str = "mobilenet", weights: str = "random", **changes) -> Settings:
    known = {"family": "cnn_rnn", "id": "x", "network": network, "fps": 5.0, "resolution": NETWORKS[network].size}
    return Settings(**known | {"weights": weights, "watch": "", "units": [4], "hidden": None, "dropout": 0.4} | changes)


@pytest.fixture(scope="module")
def mobilenet():
    return build_image_network("mobilenet", "random", SIZE, 1)


def check_openvino(module: ImageFeatures, network: str, size: int, folder: Path, frames: int = 1) -> None:
    """Compares the saved network in OpenVINO with `module`, for views of `frames` and of fewer frames."""
    save_image_features(module, folder / "image_network")
    opened = open_features(folder, model(network), Sampling(frames, size, "uniform", "pad"), "openvino")
    for count in {frames, 1}:
        views = np.random.default_rng(0).uniform(size=(2, count, size, size, 3)).astype(np.float32)
        expected = module.features(views).numpy()
        assert opened(views).shape == expected.shape
        assert np.abs(opened(views) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_table_agrees_with_keras_and_openvino_with_the_network(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    network = NETWORKS[name]
    built = build_image_network(name, "random", network.size, 1)
    assert built.output_shape == (None, network.features)
    assert sum(math.prod(variable.shape) for variable in built.trainable_weights) == network.parameters
    spec = tf.TensorSpec([1, 1, network.size, network.size, 3], tf.float32)
    module = ImageFeatures(built, network, network.size)
    assert flops(module.features, spec) / 1e9 == pytest.approx(network.gflop, rel=0.01)
    check_openvino(module, name, network.size, tmp_path)


def test_the_features_of_views_are_those_of_their_images_in_either_engine(mobilenet, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    views = np.random.default_rng(0).uniform(size=(2, 3, SIZE, SIZE, 3)).astype(np.float32)
    module = ImageFeatures(mobilenet, NETWORKS["mobilenet"], SIZE)
    features = module.features(views)
    assert features.shape == (2, 3, 1024)
    images = tf_keras.applications.mobilenet.preprocess_input(255 * views.reshape(-1, SIZE, SIZE, 3))
    np.testing.assert_allclose(np.reshape(features, (6, 1024)), mobilenet(images, training=False), rtol=1e-4, atol=1e-5)
    check_openvino(module, "mobilenet", SIZE, tmp_path, frames=3)


def test_all_weights_of_a_file_are_restored(mobilenet, tmp_path):
    path = tmp_path / "weights.h5"
    mobilenet.save_weights(path)
    restored = build_image_network("mobilenet", str(path), SIZE, 2)
    assert (
        values_digest(restored) == values_digest(mobilenet) != values_digest(build_image_network("mobilenet", "random", SIZE, 2))
    )
    assert check_weights(model(weights=str(path))).status == "ok"


def test_weights_that_do_not_fit_are_a_one_line_error(mobilenet, tmp_path):
    path = tmp_path / "weights.h5"
    mobilenet.save_weights(path)
    message = "does not fit mobilenet_v2: .*give weights of mobilenet_v2 without its classifier"
    with pytest.raises(UserError, match=message) as caught:
        build_image_network("mobilenet_v2", str(path), SIZE, 1)
    assert "\n" not in str(caught.value)
    (tmp_path / "text.h5").write_text("not HDF5")
    for weights, message in (("text.h5", "not an HDF5 file"), ("none.h5", "not found"), ("https://x.org/w.h5", "not found")):
        with pytest.raises(UserError, match=message):
            build_image_network("mobilenet", weights if "://" in weights else str(tmp_path / weights), SIZE, 1)


def test_a_size_that_is_too_small_for_the_network_is_refused():
    with pytest.raises(UserError, match=r"frames.size = 32: inception_v3 cannot take it: .* at least 75"):
        build_image_network("inception_v3", "random", SIZE, 1)


def test_another_resolution_than_the_networks_is_refused():
    with pytest.raises(UserError, match="resolution = 299, but mobilenet was trained at 224; choose model=cnn_rnn_mobilenet"):
        model(resolution=299)
