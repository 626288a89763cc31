"""The recurrent top: NumPy, TensorFlow and Keras give equal outputs, padding has no effect, and states can be resumed."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.cnn_rnn.apply import TopValues, top_probabilities
from pipeline.models.cnn_rnn.network.recurrent import RecurrentTop, build_recurrent_top

CLIPS, FRAMES, WIDTH, CLASSES = 6, 7, 12, 4


def random_top(units=(5, 3), hidden: int | None = 4):
    """A top with random weights, and the features and mask of clips with 7, 6, ... frames."""
    top = build_recurrent_top((FRAMES, WIDTH), units, hidden, CLASSES, dropout=0.5, seed=1)
    rng = np.random.default_rng(0)
    top.set_weights([rng.normal(scale=0.7, size=value.shape) for value in top.get_weights()])
    features = rng.normal(size=(CLIPS, FRAMES, WIDTH)).astype(np.float32)
    mask = np.arange(FRAMES) < np.arange(FRAMES, FRAMES - CLIPS, -1)[:, None]
    return top, features, mask


@pytest.mark.parametrize(("units", "hidden"), [((5, 3), 4), ((6,), None)])
def test_numpy_and_keras_agree(units, hidden, tmp_path):
    top, features, mask = random_top(units, hidden)
    logits = top({"features": features, "mask": mask}, training=False)
    TopValues.from_weights(top.get_weights(), len(units)).save(tmp_path / "top.npz")
    values = TopValues.load(tmp_path / "top.npz")
    found = top_probabilities(values, features, mask)
    np.testing.assert_allclose(found, tf.nn.softmax(logits), rtol=1e-4, atol=1e-6)
    assert found.dtype == np.float32 and np.ptp(found, axis=0).max() > 0.05
    assert values.parameters == top.count_params()


def test_the_values_of_padding_have_no_effect():
    top, features, mask = random_top()
    values = TopValues.from_weights(top.get_weights(), 2)
    other = np.where(mask[..., None], features, 100.0)
    np.testing.assert_array_equal(top_probabilities(values, features, mask), top_probabilities(values, other, mask))
    for clip, kept in enumerate(mask.sum(axis=1)):
        alone = top_probabilities(values, features[clip : clip + 1, :kept], np.ones((1, kept), bool))
        np.testing.assert_allclose(alone[0], top_probabilities(values, features, mask)[clip], rtol=1e-5)


def test_saving_keeps_the_order_of_more_than_ten_layers(tmp_path):
    top, features, mask = random_top(units=(2,) * 12)
    values = TopValues.from_weights(top.get_weights(), 12)
    values.save(tmp_path / "top.npz")
    np.testing.assert_array_equal(
        top_probabilities(TopValues.load(tmp_path / "top.npz"), features, mask), top_probabilities(values, features, mask)
    )


@pytest.mark.parametrize("chunks", [[7], [1] * 7, [3, 4]])
def test_chunks_of_any_size_give_the_output_of_the_whole_clip(chunks):
    top, features, _ = random_top()
    values = TopValues.from_weights(top.get_weights(), 2)
    served, start = RecurrentTop(values), 0
    states = served.start(CLIPS)
    for size in chunks:
        states = served.run(tf.constant(features[:, start : start + size]), states)
        start += size
    expected = top_probabilities(values, features, np.ones((CLIPS, FRAMES), bool))
    np.testing.assert_allclose(tf.nn.softmax(served.logits(states)), expected, rtol=1e-4, atol=1e-6)


def test_a_graph_for_any_number_of_frames_gives_the_same_output():
    top, features, _ = random_top()
    served = RecurrentTop(TopValues.from_weights(top.get_weights(), 2))
    spec = tf.TensorSpec([CLIPS, None, WIDTH], tf.float32)
    loop = tf.function(lambda given: served.logits(served.run(given, served.start(CLIPS))), input_signature=[spec])
    direct = served.logits(served.run(tf.constant(features), served.start(CLIPS)))
    np.testing.assert_allclose(loop(features), direct, rtol=1e-5, atol=1e-6)


def test_the_features_of_a_probe_are_the_mean_of_the_frames_that_are_not_padding():
    from pipeline.models.cnn_rnn.probe import probe_features

    _, features, mask = random_top()
    padded = np.where(mask[..., None], features, 0.0).astype(np.float32)
    found = probe_features(None, None, padded, mask)
    expected = [clip[kept].mean(axis=0) for clip, kept in zip(features, mask, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32
