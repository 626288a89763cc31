"""Weights are restored completely or not at all; weights that do not fit and unsafe archives are refused."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.bundle import VALUE
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.checkpoints import restore, variable_keys
from pipeline.models.movinet.network.weights.copying import replace_values
from pipeline.models.movinet.network.weights.finding import find_weights, weights_digest
from tests.models.movinet.small import WITHOUT_GRADIENTS, HubLayer, saved, small_model, small_movinet, tarball

A0 = VARIANTS["a0"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_a_tarball_a_folder_and_a_prefix_are_the_same_weights(tmp_path):
    folder = saved(tmp_path / "w", small_model())
    archive = tarball(tmp_path / "w.tar.gz", folder)
    prefixes = [find_weights(str(path), A0) for path in (archive, folder, folder / "ckpt-1", folder / "ckpt-1.index")]
    assert len({weights_digest(prefix) for prefix in prefixes}) == 1
    assert find_weights("random", A0) is None


def test_a_relative_path_is_relative_to_the_repository(tmp_path):
    saved(tmp_path / "w", small_model())
    assert find_weights("w", A0) == tmp_path / "w" / "ckpt-1"


def test_all_variables_are_restored():
    folder = saved(Path(os.environ["DVC_ROOT"]) / "w", model := small_model())
    other = small_model()
    for variable in other.variables:
        variable.assign(tf.zeros_like(variable))
    assert restore(other, find_weights(str(folder), A0), "w") == 4
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_keys_are_those_that_tensorflow_writes(tmp_path):
    model = small_model()
    folder = saved(tmp_path / "w", model)
    written = tf.train.load_checkpoint(str(folder / "ckpt-1")).get_variable_to_shape_map()
    assert set(variable_keys(model=model)) == set(written) - {
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (small_model(5), "kernel is "),
        (tf_keras.Sequential([tf_keras.layers.InputLayer([4]), tf_keras.layers.Dense(3)]), "2 left over"),
        (tf_keras.Sequential([small_model(), tf_keras.layers.Dense(2)]), "missing"),
    ],
)
def test_the_error_for_another_network_lists_the_differences(tmp_path, model, message):
    folder = saved(tmp_path / "w", small_model())
    with pytest.raises(UserError, match="this model") as caught:
        restore(model, find_weights(str(folder), A0), "my weights")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my weights: ")
    assert "\n" not in str(caught.value)


def same_values(one: tf_keras.Model, other: tf_keras.Model) -> bool:
    return all(np.array_equal(*both) for both in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.slow
def test_exported_copied_and_wrapped_saved_models_are_restored(tmp_path, monkeypatch, capsys):
    """As the official export writes them, with the metrics of compile(); loaded and saved; inside another Keras model."""
    model = small_movinet(monkeypatch)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model({"image": tf.zeros([1, 2, 16, 16, 3])})
    model.save(str(tmp_path / "exported" / "3"), options=WITHOUT_GRADIENTS)
    loaded = tf.saved_model.load(str(tmp_path / "exported" / "3"))
    tf.saved_model.save(loaded, str(tmp_path / "again"), options=WITHOUT_GRADIENTS)
    images = tf_keras.layers.Input([None, None, None, 3])
    wrapped = tf_keras.Model([images], [HubLayer(loaded)(images)])
    wrapped.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    wrapped.save(str(tmp_path / "wrapped"), options=WITHOUT_GRADIENTS)
    for name, key in (
        ("exported", "variables/0"),
        ("again", "variables/0"),
        ("wrapped", "layer_with_weights-0/stem.S"),
    ):
        prefix = find_weights(name, A0)
        saved_keys = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
        assert any(saved_key.startswith(key) for saved_key in saved_keys), sorted(saved_keys)
        other = small_movinet(monkeypatch, classes=600)
        other.set_weights([np.zeros_like(value) for value in other.get_weights()])
        assert restore(other, prefix, name) == len(model.variables)
        assert same_values(model, other)
        assert "keras_api/metrics/0/count" in capsys.readouterr().err or name == "again"
    fewer = small_movinet(monkeypatch, classes=5)
    before = fewer.get_weights()
    with pytest.raises(UserError, match=r"wrapped: these are weights of this model with 600 classes, not 5; give the checkpoint"):
        restore(fewer, find_weights("wrapped", A0), "wrapped")
    stream = small_movinet(monkeypatch, "a0_stream")
    with pytest.raises(UserError, match=r"wrapped: does not fit this model.*missing.*left over"):
        restore(stream, find_weights("wrapped", A0), "wrapped")
    assert all(np.array_equal(*both) for both in zip(before, fewer.get_weights(), strict=True))


def saved_by_name(folder: Path, model: tf_keras.Model, names: dict[int, str], order: list[int]) -> Path:
    """A SavedModel's variables with keys as in TensorFlow Hub's A2 base: `trainable_variables/N` or `variables/N`."""
    copies = [tf.Variable(model.variables[number], name=names[number]) for number in order]
    trainable = {id(variable) for variable in model.trainable_variables}
    first = [copy for copy, number in zip(copies, order, strict=True) if id(model.variables[number]) in trainable]
    tf.train.Checkpoint(trainable_variables=first, variables=copies).write(str(folder / "variables" / "variables"))
    return folder


def test_variables_of_saved_models_are_identified_by_name_not_by_order(tmp_path, monkeypatch):
    model = small_movinet(monkeypatch)
    order = np.random.default_rng(1).permutation(len(model.variables)).tolist()
    old = {
        number: variable.name.removesuffix(":0").replace("block0_layer", "b0/l").replace("/conv3d/", "/conv3d_7/")
        for number, variable in enumerate(model.variables)
    }
    saved_by_name(tmp_path / "hub", model, old, order)
    other = small_movinet(monkeypatch)
    other.set_weights([np.zeros_like(value) for value in other.get_weights()])
    assert restore(other, find_weights("hub", A0), "hub") == len(order)
    assert same_values(model, other)

    saved_by_name(tmp_path / "nameless", model, dict.fromkeys(range(len(order)), "Variable"), order)
    with pytest.raises(UserError, match="nameless: the shapes are those of this model, but not the names"):
        restore(other, find_weights("nameless", A0), "nameless")
    first = next(number for number, variable in enumerate(model.variables) if "bn/gamma" in variable.name)
    twin = next(number for number, variable in enumerate(model.variables) if "bn/beta" in variable.name)
    saved_by_name(tmp_path / "twins", model, old | {twin: old[first]}, order)
    with pytest.raises(
        UserError, match="the shapes are those of this model, but not the names, which identify the variables: 1 missing"
    ):
        restore(other, find_weights("twins", A0), "twins")


@pytest.mark.parametrize("counter", ["save_counter", "_save_counter"])
def test_counters_and_other_training_state_are_ignored(tmp_path, counter, capsys):
    model = small_model()
    checkpoint = (
        tf.train.Checkpoint(
            model=model, optimizer=tf_keras.optimizers.Adam(), global_step=tf.Variable(7), **{counter: tf.Variable(1)}
        )
        if counter == "_save_counter"
        else tf.train.Checkpoint(model=model)
    )
    (checkpoint.write if counter == "_save_counter" else checkpoint.save)(str(tmp_path / "w" / "ckpt"))
    (prefix,) = [path.with_suffix("") for path in (tmp_path / "w").glob("*.index")]
    assert f"{counter}/.ATTRIBUTES/VARIABLE_VALUE" in tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    other = small_model()
    other.set_weights([np.zeros_like(value) for value in other.get_weights()])
    assert restore(other, find_weights("w", A0), "w") == 4
    assert same_values(model, other)
    messages = capsys.readouterr().err
    assert ("global_step" in messages) == (counter == "_save_counter")


def test_if_a_byte_has_changed_nothing_is_restored(tmp_path):
    folder = saved(tmp_path / "w", small_model())
    data = folder / "ckpt-1.data-00000-of-00001"
    index = read_prefix(folder / "ckpt-1").index
    tensor = next(tensor for key, tensor in index.tensors.items() if key.endswith("layer_with_weights-1/kernel" + VALUE))
    content = bytearray(data.read_bytes())
    content[tensor.offset + 1] ^= 1
    data.write_bytes(content)
    other = small_model(3)
    other.set_weights([np.full_like(value, 7) for value in other.get_weights()])
    with pytest.raises(UserError, match=r"^w: damaged: .*[Cc]hecksum.*; fetch it again$") as caught:
        restore(other, find_weights("w", A0), "w")
    assert "\n" not in str(caught.value)
    assert all(np.all(value == 7) for value in other.get_weights())
    data.write_bytes(content[: tensor.offset])
    with pytest.raises(UserError, match=r"^w: "):
        restore(other, find_weights("w", A0), "w")
    assert all(np.all(value == 7) for value in other.get_weights())


def test_values_of_another_type_are_refused(tmp_path):
    tf.train.Checkpoint(
        model=tf_keras.Sequential([tf_keras.layers.InputLayer([4]), tf_keras.layers.Dense(2, dtype="float16")])
    ).write(str(tmp_path / "w" / "ckpt"))
    model = tf_keras.Sequential([tf_keras.layers.InputLayer([4]), tf_keras.layers.Dense(2)])
    with pytest.raises(UserError, match=r"layer_with_weights-0/bias, .*: not float32; give float32 weights"):
        restore(model, find_weights("w", A0), "w")


def test_replacing_values_changes_only_these(tmp_path):
    model = small_model()
    folder = saved(tmp_path / "w", model)
    key = next(key for key, variable in variable_keys(model=model).items() if variable is model.layers[0].kernel)
    replace_values(folder / "ckpt-1", tmp_path / "new" / "ckpt-1", {key: np.ones((4, 3), np.float32)})
    other = small_model(3)
    restore(other, find_weights(str(tmp_path / "new"), A0), "new")
    expected = [np.ones((4, 3), np.float32), *model.get_weights()[1:]]
    for one, two in zip(expected, other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(KeyError):
        replace_values(folder / "ckpt-1", tmp_path / "newer" / "ckpt-1", {"nothing": np.ones(1)})
    with pytest.raises(ValueError, match=r"expected float32 \(4, 3\), got float32 \(3, 4\)"):
        replace_values(folder / "ckpt-1", tmp_path / "newer" / "ckpt-1", {key: np.ones((3, 4), np.float32)})


@pytest.mark.parametrize("size", [1, 2048 * 16 - 1, 2048 * 16, 2048 * 16 + 5, 100_000])
def test_checksums_of_large_values_are_those_of_tensorflow(tmp_path, size):
    """TensorFlow verifies the checksum of a value when it reads it."""
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    tf.train.Checkpoint(value=tf.Variable(np.zeros_like(values))).write(str(tmp_path / "ckpt"))
    replace_values(tmp_path / "ckpt", tmp_path / "copy/ckpt", {f"value{VALUE}": values})
    np.testing.assert_array_equal(tf.train.load_checkpoint(str(tmp_path / "copy/ckpt")).get_tensor(f"value{VALUE}"), values)


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_a_tarball_cannot_write_outside_its_folder(tmp_path, name):
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"unsafe path|should hold one checkpoint"):
        find_weights("w.tar", A0)
    assert not list(tmp_path.parent.glob("outside"))
    assert not Path("/outside").exists()
