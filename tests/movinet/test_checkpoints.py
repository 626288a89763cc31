"""Finding weights, refusing what does not fit or cannot be trusted, and the published sources in order."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stages.console import UserError
from stages.movinet import checkpoints
from stages.movinet.checkpoints import find_weights, replace_values, restore, variable_keys, weights_digest
from stages.movinet.variants import VARIANTS
from tests.range_server import RangeServer

A0 = VARIANTS["a0"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def small_model(units: int = 3) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(units)
    return tf_keras.Sequential([tf_keras.layers.InputLayer([4]), tf_keras.layers.Dense(units), tf_keras.layers.Dense(2)])


def saved(folder: Path, model: tf_keras.Model) -> Path:
    tf.train.Checkpoint(model=model).save(str(folder / "ckpt"))
    return folder


def tarball(path: Path, folder: Path, *, name: str = "weights") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=name)
    return path


def test_a_tarball_a_folder_and_a_prefix_are_the_same_weights(tmp_path):
    folder = saved(tmp_path / "w", small_model())
    archive = tarball(tmp_path / "w.tar.gz", folder)
    prefixes = [find_weights(str(path), A0) for path in (archive, folder, folder / "ckpt-1", folder / "ckpt-1.index")]
    assert len({weights_digest(prefix) for prefix in prefixes}) == 1
    assert find_weights("random", A0) is None


def test_a_relative_path_is_under_the_repository(tmp_path):
    saved(tmp_path / "w", small_model())
    assert find_weights("w", A0) == tmp_path / "w" / "ckpt-1"


def test_everything_is_restored():
    folder = saved(Path(os.environ["DVC_ROOT"]) / "w", model := small_model())
    other = small_model()
    for variable in other.variables:
        variable.assign(tf.zeros_like(variable))
    assert restore(other, find_weights(str(folder), A0), "w") == 4
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_keys_are_those_tensorflow_writes(tmp_path):
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
def test_another_network_is_an_error_that_says_what_differs(tmp_path, model, message):
    folder = saved(tmp_path / "w", small_model())
    with pytest.raises(UserError, match="does not fit this model") as caught:
        restore(model, find_weights(str(folder), A0), "my weights")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my weights: ")
    assert "\n" not in str(caught.value)


def test_the_variables_of_a_saved_model_restore_too(tmp_path):
    model = small_model()
    tf.saved_model.save(model, str(tmp_path / "saved"))
    other = small_model()
    other.set_weights([np.zeros_like(value) for value in other.get_weights()])
    restore(other, find_weights(str(tmp_path / "saved"), A0), "saved")
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_what_is_not_a_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match="no such tarball"):
        find_weights("nowhere", A0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="should hold one checkpoint"):
        find_weights("empty", A0)
    (tmp_path / "w.tar.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="not a whole tar archive"):
        find_weights("w.tar.gz", A0)
    folder = saved(tmp_path / "w", small_model())
    whole = tarball(tmp_path / "whole.tar.gz", folder).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole tar archive"):
        find_weights("cut.tar.gz", A0)
    (folder / "ckpt-1.index").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a readable TensorFlow checkpoint"):
        restore(small_model(), find_weights(str(folder), A0), "w")


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


def test_a_tarball_with_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        member = tarfile.TarInfo("ckpt-1.index")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        find_weights("w.tar", A0)


def test_a_url_is_fetched_once_and_a_changed_copy_is_noticed(tmp_path):
    archive = tarball(tmp_path / "w.tar.gz", saved(tmp_path / "w", small_model()))
    with RangeServer({"w.tar.gz": archive.read_bytes()}) as server:
        url = server.url("w.tar.gz")
        first = find_weights(url, A0)
        assert find_weights(url, A0) == first
        assert server.requests == 1
        with pytest.raises(UserError, match="404"):
            find_weights(server.url("other.tar.gz"), A0)
    (cached,) = (tmp_path / ".cache" / "weights").glob("*/w.tar.gz")
    cached.write_bytes(b"changed")
    with pytest.raises(UserError, match="has changed since it was fetched"):
        find_weights(url, A0)


def test_no_server_is_one_clear_line():
    with pytest.raises(UserError, match="cannot be fetched"):
        find_weights("http://127.0.0.1:9/w.tar.gz", A0)


def test_published_sources_are_tried_in_order(tmp_path, monkeypatch, capsys):
    tried = []

    def kaggle(handle):
        tried.append(handle)
        return saved(tmp_path / "kaggle", small_model())

    monkeypatch.setattr(checkpoints, "_from_kaggle", kaggle)
    archive = tarball(tmp_path / "w.tar.gz", saved(tmp_path / "w", small_model()))
    with RangeServer({A0.checkpoint: archive.read_bytes()}) as server:
        monkeypatch.setattr(checkpoints, "PUBLISHED_ROOT", server.url("").rstrip("/"))
        find_weights("pretrained", A0)
        assert tried == []
        find_weights("pretrained", VARIANTS["a1"])
        assert tried == [VARIANTS["a1"].kaggle]
    assert "404" in capsys.readouterr().err


def test_all_sources_failing_says_why_each_did(monkeypatch):
    def kaggle(handle):
        raise OSError("no route to Kaggle")

    monkeypatch.setattr(checkpoints, "_from_kaggle", kaggle)
    monkeypatch.setattr(checkpoints, "PUBLISHED_ROOT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be fetched.*no route to Kaggle.*model\.weights"):
        find_weights("pretrained", A0)
    with pytest.raises(UserError, match="no weights of a0_stream_relu6 are published"):
        find_weights("pretrained", VARIANTS["a0_stream_relu6"])


def test_replaced_values_are_all_that_changes(tmp_path):
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
