"""Balanced classes: the weights, how often clips are drawn, and what rare classes gain."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.settings import Augment
from pipeline.training.balance import balanced_copies, class_weights, draw_offset, training_losses
from pipeline.training.datasets import ViewRecipe, training_epoch
from pipeline.video.records import serialize_clip, write_shard
from pipeline.video.sampling import Sampling


def test_weights_are_inversely_proportional_to_the_counts_with_mean_1():
    weights = class_weights([10, 40, 0, 50])
    np.testing.assert_allclose(weights, [100 / 30, 100 / 120, 0, 100 / 150])
    assert (weights * [10, 40, 0, 50]).sum() == pytest.approx(100)


def test_clips_are_drawn_as_often_as_their_weights_say_on_average():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [3, 40, 57]))
    weights = class_weights(np.bincount(labels))[labels]
    drawn = np.stack([balanced_copies(weights, draw_offset(1, epoch)) for epoch in range(400)])
    assert set(drawn.sum(axis=1)) == {100}, "as many as without"
    assert (drawn >= np.floor(weights)).all() and (drawn <= np.ceil(weights)).all()
    np.testing.assert_allclose(drawn.mean(axis=0), weights, atol=0.1)
    for label in range(3):
        assert drawn[:, labels == label].sum(axis=1).mean() == pytest.approx(100 / 3, abs=0.5)
    assert draw_offset(1, 2) == draw_offset(1, 2) != draw_offset(1, 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_an_example_has_the_weight_of_its_class(smoothing):
    logits, targets = tf.constant([[1.0, -1.0, 0.5]] * 3), tf.constant([[1.0, 0, 0], [0, 0, 1.0], [0.25, 0.75, 0]])
    plain = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction="none")(
        targets, logits
    )
    np.testing.assert_allclose(training_losses(smoothing)(targets, logits), plain)
    weighted = training_losses(smoothing, [2.0, 0.4, 3.0])(targets, logits)
    np.testing.assert_allclose(weighted, plain * [2.0, 3.0, 0.25 * 2.0 + 0.75 * 0.4], rtol=1e-6)


def test_an_epoch_of_records_has_as_many_examples_and_more_of_the_rare_class(tmp_path):
    jpeg = tf.io.encode_jpeg(np.full((32, 32, 3), 100, np.uint8)).numpy()
    labels = [0] * 16 + [1] * 4
    path = tmp_path / "train.tfrecord"
    write_shard(path, [serialize_clip(f"{n}", label, "ab"[label], f"g{n}", [jpeg], [0]) for n, label in enumerate(labels)])
    augment = Augment(crop=1.0, flip=False, brightness=0.0, contrast=0.0, saturation=0.0, jitter=False)
    recipe = ViewRecipe(Sampling(1, 32, "uniform", "repeat"), augment, False, ["a", "b"], 3)
    weights = class_weights([16, 4])

    def drawn(epoch: int, first: int = 0, weights=weights) -> list[int]:
        batches = training_epoch([path], 20, recipe, batch_size=5, epoch=epoch, first=first, weights=weights)
        return [int(label) for _, one_hot in batches for label in one_hot.numpy().argmax(axis=1)]

    epochs = [drawn(epoch) for epoch in range(8)]
    assert {len(epoch) for epoch in epochs} == {20}
    assert all(abs(Counter(epoch)[1] - 10) <= 1 for epoch in epochs)
    assert drawn(2) == epochs[2] and drawn(2, first=10) == epochs[2][10:]
    assert sorted(drawn(0, weights=None)) == labels
