"""The training of a top on cached features: its arithmetic is Keras's, it is deterministic, and a killed one resumes."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.models.cnn_rnn.network.recurrent import build_recurrent_top
from pipeline.training.cached_features import CachedFeatures
from pipeline.training.loop import HISTORY, Task, train
from pipeline.training.optimizer import FusedAdamW, build_optimizer
from pipeline.training.top import epoch_order, top_logits, train_on_features
from tests.training.test_loop import CLASSES, SETTINGS, WIDTH, numbers, training


def features(seed: int, clips: int = 25, views: int = 2, labels: np.ndarray | None = None) -> CachedFeatures:
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, clips) if labels is None else labels
    values = random.normal(size=(len(labels), views, WIDTH)) + 2 * np.eye(CLASSES, WIDTH)[labels][:, None]
    return CachedFeatures(values.astype(np.float32), np.repeat(labels[:, None], views, axis=1).astype(np.int32), None)


def top() -> tf_keras.Model:
    return tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer([WIDTH]),
            tf_keras.layers.Dense(16, "relu", kernel_initializer=tf_keras.initializers.HeNormal(seed=1)),
            tf_keras.layers.Dropout(SETTINGS.dropout),
            tf_keras.layers.Dense(CLASSES, kernel_initializer=tf_keras.initializers.HeNormal(seed=2)),
        ]
    )


def train_top(folder, settings=SETTINGS, data=None, model=None, **options):
    folder.mkdir(exist_ok=True)
    model = model or top()
    history, best = train_on_features(model, data or features(1), features(2), training(folder, settings, **options))
    return model, history, best


def test_it_learns_what_the_loop_of_networks_learns(tmp_path):
    """The same order, dropout, updates and history, to the rounding of sums. The last batch of an epoch is smaller."""
    settings = SETTINGS.model_copy(update={"label_smoothing": 0.1, "weight_decay": 0.1})
    one, history, best = train_top(tmp_path / "top", settings)
    data, held_out = features(1).flat(), features(2).middle().flat()

    def epoch(number: int, first: int) -> tf.data.Dataset:
        order = epoch_order(data.labels, None, 1, number)[first:]
        rows = (data.features[order], np.eye(CLASSES, dtype=np.float32)[data.labels[order]])
        return tf.data.Dataset.from_tensor_slices(rows).batch(SETTINGS.batch_size)

    validation = tf.data.Dataset.from_tensor_slices((held_out.features, np.eye(CLASSES)[held_out.labels])).batch(8)
    two = top()
    (tmp_path / "loop").mkdir()
    expected, expected_best = train(two, Task(50, epoch, validation), training(tmp_path / "loop", settings))
    assert list(history.columns) == list(expected.columns) == HISTORY and best == expected_best
    np.testing.assert_allclose(numbers(history), numbers(expected), rtol=1e-4)
    for own, other in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 0.1, 100.0])
def test_the_fused_updates_are_those_of_keras(clip):
    settings = SETTINGS.model_copy(update={"clip_norm": clip, "weight_decay": 0.5, "warmup": 0.2})
    fused, plain = top(), top()
    own, other = FusedAdamW(settings, 10, fused.trainable_variables), build_optimizer(settings, 10)
    random = np.random.default_rng(1)
    for _ in range(6):
        gradients = [tf.constant(random.normal(size=one.shape), tf.float32) for one in plain.trainable_variables]
        own.apply(gradients)
        other.apply_gradients(zip(gradients, plain.trainable_variables, strict=True))
    assert int(own.iterations) == 6
    for one, two, start in zip(fused.get_weights(), plain.get_weights(), top().get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
        assert np.abs(one - start).max() > 1e-3


def test_the_result_depends_only_on_the_seed_and_is_that_of_a_killed_and_resumed_training(tmp_path, capsys):
    settings = SETTINGS.model_copy(update={"mixup": 0.3, "balance": "sample"})
    whole, history, best = train_top(tmp_path / "whole", settings)
    again, history_again, _ = train_top(tmp_path / "again", settings)
    np.testing.assert_array_equal(numbers(history), numbers(history_again))

    def kill(rows):
        if len(rows) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_top(tmp_path / "killed", settings, on_epoch=kill, checkpoint_minutes=1e-9)
    resumed, history_resumed, best_resumed = train_top(tmp_path / "killed", settings)
    assert "resuming in epoch 3" in capsys.readouterr().err
    np.testing.assert_array_equal(numbers(history_resumed), numbers(history))
    assert best_resumed == best
    for one, two, three in zip(whole.get_weights(), again.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    _, other, _ = train_top(tmp_path / "other", settings, seed=2)
    assert np.abs(numbers(history) - numbers(other)).max() > 1e-4


def test_the_best_epoch_is_kept_and_patience_stops(tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 0.5, "clip_norm": None, "epochs": 40, "patience": 2, "warmup": 0.0})
    model, history, best = train_top(tmp_path, settings)
    assert len(history) == best + 2 < 40
    logits, labels = top_logits(model, features(2).middle())[:, 0], features(2).labels[:, 0]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits).numpy().mean()
    assert loss == pytest.approx(history["validation_loss"].min(), rel=1e-5)
    assert loss != pytest.approx(history["validation_loss"].iloc[-1], rel=1e-3)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    bad = features(1)
    with pytest.raises(UserError, match=r"the loss is nan in epoch 1; lower finetune\.learning_rate"):
        train_top(tmp_path, data=CachedFeatures(bad.features * np.inf, bad.labels, None))


def test_a_recurrent_top_with_masks_learns(tmp_path):
    def sequences(seed: int) -> CachedFeatures:
        one = features(seed, clips=30)
        mask = np.ones((30, 2, 4), bool)
        mask[::3, :, 2:] = False
        values = np.repeat(one.features[:, :, None], 4, axis=2)
        return CachedFeatures(np.where(mask[..., None], values, 99).astype(np.float32), one.labels, mask)

    model = build_recurrent_top((4, WIDTH), [8], 8, CLASSES, dropout=0.1, seed=1)
    settings = SETTINGS.model_copy(update={"epochs": 15, "learning_rate": 0.03})
    history, _ = train_on_features(model, sequences(1), sequences(2), training(tmp_path, settings))
    assert history["validation_accuracy"].max() > 0.8


@pytest.mark.parametrize("balance", ["weight", "sample"])
def test_balance_raises_the_recall_of_a_rare_class(tmp_path, balance):
    noisy = np.repeat([0, 1, 2], [120, 120, 8])
    found = {}
    for kind in ("none", balance):
        settings = SETTINGS.model_copy(update={"balance": kind, "epochs": 8})
        model, *_ = train_top(tmp_path / kind, settings, data=features(5, labels=noisy))
        held_out = features(6, clips=300)
        predicted = top_logits(model, held_out).mean(axis=1).argmax(axis=-1)
        found[kind] = (predicted[held_out.labels[:, 0] == 2] == 2).mean()
    assert found[balance] > found["none"] + 0.05


def test_an_epoch_has_each_example_once_or_the_rare_ones_more_often():
    labels = np.repeat([0, 1], [30, 10])
    assert sorted(epoch_order(labels, None, 1, 0)) == list(range(40))
    drawn = epoch_order(labels, np.array([2 / 3, 2.0]), 1, 0)
    assert len(drawn) == 40 and abs((labels[drawn] == 1).sum() - 20) <= 1
    assert not np.array_equal(drawn, epoch_order(labels, np.array([2 / 3, 2.0]), 1, 1))
