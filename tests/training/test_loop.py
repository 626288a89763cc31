"""The training loop: it learns, it is deterministic, and a killed training resumes with the same numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune, Unknown
from pipeline.training.loop import HISTORY, Task, Training, train
from pipeline.training.optimizer import build_optimizer, rate_factors, schedule

SETTINGS = Finetune(
    trainable="head",
    start="new",
    backbone_rate=1.0,
    layer_decay=1.0,
    blocks=1,
    reuse_projection=False,
    epochs=4,
    batch_size=8,
    learning_rate=0.01,
    warmup=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    label_smoothing=0.0,
    balance="none",
    mixup=0.0,
    dropout=0.5,
    stochastic_depth=0.0,
    batch_norm="auto",
    batch_norm_momentum=0.99,
    rezero=0.5,
    patience=None,
    calibrate=False,
    unknown=Unknown(by="coverage", level=0.95),
    distribute="none",
    precision="float32",
)
CLASSES, WIDTH, EXAMPLES = 3, 6, 50


def data(seed: int, examples: int = EXAMPLES):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, examples).astype(np.int32)
    return (rng.normal(size=(examples, WIDTH)) + 2 * np.eye(CLASSES, WIDTH)[labels]).astype(np.float32), labels


def task(stop_after: int | None = None) -> Task:
    """The training data. stop_after: raise an exception after that many batches, to simulate a kill."""
    features, labels = map(tf.constant, data(1))
    seen = 0

    def epoch(number: int, first: int) -> tf.data.Dataset:
        nonlocal seen
        order = np.random.default_rng([1, number]).permutation(EXAMPLES)[first:]
        examples = tf.data.Dataset.from_tensor_slices((tf.gather(features, order), tf.one_hot(tf.gather(labels, order), CLASSES)))
        dataset = examples.batch(SETTINGS.batch_size)
        if stop_after is None:
            return dataset
        left = stop_after - seen
        batches = -(-(EXAMPLES - first) // SETTINGS.batch_size)
        seen += batches
        if batches <= left:
            return dataset

        def fail(x):
            raise RuntimeError("killed")

        def killed(x, y):
            return tf.ensure_shape(tf.numpy_function(fail, [x], tf.float32), x.shape), y

        return dataset.take(left).concatenate(dataset.take(1).map(killed))

    held_out = data(2)
    return Task(EXAMPLES, epoch, tf.data.Dataset.from_tensor_slices((held_out[0], np.eye(CLASSES)[held_out[1]])).batch(8))


def model() -> tf_keras.Model:
    return tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer([WIDTH]),
            tf_keras.layers.Dense(16, "relu", kernel_initializer=tf_keras.initializers.HeNormal(seed=1)),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.Dropout(SETTINGS.dropout),
            tf_keras.layers.Dense(CLASSES, kernel_initializer=tf_keras.initializers.HeNormal(seed=2)),
        ]
    )


def training(folder, settings=SETTINGS, seed=1, **options) -> Training:
    return Training(Settings.of_id("a0"), settings, seed, folder, **options)


def train_model(folder, *arguments, **options):
    network = model()
    history, best = train(network, task(), training(folder, *arguments, **options))
    return network, history, best


def numbers(history: pd.DataFrame) -> np.ndarray:
    """The columns that do not depend on the clock."""
    return history.drop(columns=["seconds", "examples_per_second"]).to_numpy()


def test_training_learns_and_reports_each_epoch(tmp_path):
    rows = []
    _, history, best = train_model(tmp_path, SETTINGS.model_copy(update={"epochs": 12}), on_epoch=rows.append)
    assert list(history.columns) == HISTORY
    assert list(history["epoch"]) == list(range(1, 13))
    assert history["validation_accuracy"].iloc[-1] > 0.7
    assert best == history["epoch"][history["validation_loss"].idxmin()]
    assert [len(table) for table in rows] == list(range(1, 13))
    pd.testing.assert_frame_equal(rows[-1], history)


def test_the_model_has_the_weights_of_the_best_epoch(tmp_path):
    right = task()
    wrong = Task(EXAMPLES, right.epoch, right.validation.map(lambda x, y: (x, tf.roll(y, 1, axis=1))))  # learning makes it worse
    network = model()
    history, best = train(network, wrong, training(tmp_path))
    assert best < SETTINGS.epochs
    network.compile(metrics=[tf_keras.metrics.CategoricalCrossentropy(name="cross_entropy", from_logits=True)])
    loss = network.evaluate(wrong.validation, verbose=0, return_dict=True)["cross_entropy"]
    assert loss == pytest.approx(history["validation_loss"].min())
    assert loss != pytest.approx(history["validation_loss"].iloc[-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupts: the network, the history and the best epoch."""
    return train_model(tmp_path_factory.mktemp("whole"))


def test_the_result_depends_only_on_the_seed(tmp_path, whole):
    one, history, _ = whole
    two, again, _ = train_model(tmp_path / "b")
    np.testing.assert_array_equal(numbers(history), numbers(again))
    for x, y in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)
    _, other, _ = train_model(tmp_path / "c", seed=2)
    assert np.abs(numbers(history) - numbers(other)).max() > 1e-4


@pytest.mark.parametrize("batches", [3, 9, *(pytest.param(late, marks=pytest.mark.slow) for late in (7, 20))])
def test_a_killed_training_resumes_with_the_same_numbers(tmp_path, batches, capsys, whole):
    """An epoch has seven batches: killed within the first, at its end, within the second, near the end of the third."""
    uninterrupted, history, best = whole
    with pytest.raises(tf.errors.UnknownError, match="killed"):  # it has saved after each step, so it resumes at the next one
        train(model(), task(stop_after=batches), training(tmp_path / "killed", checkpoint_minutes=1e-9))
    network = model()
    resumed, best_resumed = train(network, task(), training(tmp_path / "killed"))
    assert "resuming in epoch" in capsys.readouterr().err
    np.testing.assert_allclose(numbers(resumed), numbers(history), rtol=1e-6)
    assert best_resumed == best
    for x, y in zip(uninterrupted.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_patience_stops_a_training_that_does_not_improve(tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 0.5, "clip_norm": None, "epochs": 40, "patience": 2, "warmup": 0.0})
    _, history, best = train_model(tmp_path, settings)
    assert len(history) == best + 2 < 40


def test_a_training_that_diverges_is_an_error(tmp_path):
    good = task()
    bad = Task(EXAMPLES, lambda number, first: good.epoch(number, first).map(lambda x, y: (x * np.inf, y)), good.validation)
    with pytest.raises(UserError, match=r"the loss is nan in epoch 1; lower finetune\.learning_rate"):
        train(model(), bad, training(tmp_path))


def test_the_learning_rate_rises_then_falls_along_a_cosine():
    settings = SETTINGS.model_copy(update={"learning_rate": 1.0, "warmup": 0.2})
    rates = [float(schedule(settings, 100)(step)) for step in range(101)]
    assert rates[0] == 0.0
    assert rates[10] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.5, abs=1e-6)
    assert rates[100] == pytest.approx(0.0, abs=1e-6)
    without = schedule(settings.model_copy(update={"warmup": 0.0}), 10)
    assert float(without(0)) == pytest.approx(1.0)


def test_weight_decay_excludes_biases_and_batch_norm():
    network = model()
    optimizer = build_optimizer(SETTINGS.model_copy(update={"weight_decay": 0.5, "warmup": 0.0}), 10)
    before = [variable.numpy() for variable in network.trainable_variables]
    optimizer.apply_gradients((tf.zeros_like(variable), variable) for variable in network.trainable_variables)
    for variable, old in zip(network.trainable_variables, before, strict=True):
        if "kernel" in variable.name:
            np.testing.assert_allclose(variable, old * (1 - 0.5 * 0.01), rtol=1e-5)
        else:
            np.testing.assert_array_equal(variable, old)


def test_initial_weights_that_are_a_result_are_epoch_0_and_kept_if_no_epoch_is_better(tmp_path, whole):
    trained, *_ = whole
    harmful = SETTINGS.model_copy(update={"learning_rate": 5.0, "clip_norm": None, "warmup": 0.0})
    network, rows = model(), []
    network.set_weights(trained.get_weights())
    again = replace(task(), starts_trained=True)
    history, best = train(network, again, training(tmp_path / "second", harmful, on_epoch=rows.append))
    assert history["epoch"].tolist() == list(range(SETTINGS.epochs + 1)) and best == 0
    assert history["loss"].isna().tolist() == [True] + [False] * SETTINGS.epochs
    assert len(rows[0]) == 1, "epoch 0 is reported at once"
    for kept, before in zip(network.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, before)
    resumed = model()
    history_again, best_again = train(resumed, again, training(tmp_path / "second", harmful))
    assert best_again == 0 and len(history_again) == len(history)
    np.testing.assert_array_equal(resumed.get_weights()[0], trained.get_weights()[0])


def test_rates_fall_from_the_head_to_the_stem(tmp_path):
    settings = SETTINGS.model_copy(update={"backbone_rate": 0.1, "layer_decay": 0.5, "weight_decay": 0.0, "warmup": 0.0})
    assert rate_factors(settings, [None] * 4, [0, 1, 2, 3]) == pytest.approx([1, 0.1, 0.05, 0.025])
    assert rate_factors(settings, [None] * 2, None) == [1.0, 1.0]
    moved = []
    for factors in ((), (1.0, 0.1)):
        variables = [tf.Variable(1.0), tf.Variable(1.0)]
        optimizer = build_optimizer(settings, 10, factors)
        optimizer.build(variables)
        tf.function(lambda v=variables, o=optimizer: o.apply_gradients(zip([tf.constant(0.3)] * 2, v, strict=True)))()
        moved.append([1.0 - variable.numpy() for variable in variables])
    assert moved[0][0] == pytest.approx(moved[0][1]) and moved[0][0] > 1e-4
    assert moved[1] == pytest.approx([moved[0][0], 0.1 * moved[0][0]], rel=1e-3)
