"""Paths of weights: tarballs, unpacked SavedModels, prefixes and single files; and the errors for all other files."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.models.movinet.network.weights import checkpoint_files
from pipeline.models.movinet.network.weights.bundle import VALUE, NotAnIndexError, read_shapes
from pipeline.models.movinet.network.weights.checkpoint_files import local_prefix, prefix_in, read_checkpoint

KEYS = {f"model/layer-{number}/kernel{VALUE}": (2, 3) for number in range(3)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with files `ckpt-1.*` that TensorFlow has written."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("saved")
    values = [np.full(shape, number, np.float32) for number, shape in enumerate(KEYS.values())]
    tf.raw_ops.SaveV2(prefix=str(folder / "ckpt-1"), tensor_names=list(KEYS), shape_and_slices=[""] * len(KEYS), tensors=values)
    return folder


def as_saved_model(saved: Path, folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    for path in saved.iterdir():
        shutil.copy(path, folder / "variables" / path.name.replace("ckpt-1", "variables"))
    return folder


def as_checkpoints(saved: Path, folder: Path, *numbers: int, state: str | None = None) -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        for path in saved.iterdir():
            shutil.copy(path, folder / path.name.replace("ckpt-1", f"ckpt-{number}"))
    if state:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{state}"\nall_model_checkpoint_paths: "{state}"\n')
    return folder


def tarball(path: Path, folder: Path, mode: str = "w", arcname: str = ".") -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(folder, arcname=arcname)
    return path


def test_all_paths_of_a_saved_model_are_accepted(saved, tmp_path):
    folder = as_saved_model(saved, tmp_path / "models" / "google" / "movinet" / "3")
    variables = folder / "variables"
    named = [tmp_path / "models", folder, folder / "saved_model.pb", variables, variables / "variables"]
    named += [variables / "variables.index", variables / "variables.data-00000-of-00001"]
    for path in named:
        assert local_prefix(path) == variables / "variables", path
        assert set(read_checkpoint(path).index.tensors) == set(KEYS)


def test_all_paths_of_a_checkpoint_are_accepted(saved, tmp_path):
    folder = as_checkpoints(saved, tmp_path / "w", 1, 2, state="/elsewhere/ckpt-1")
    for path in (folder, tmp_path, folder / "checkpoint", folder / "ckpt-1", folder / "ckpt-1.index"):
        assert local_prefix(path) == folder / "ckpt-1", path
    assert local_prefix(folder / "ckpt-2.data-00000-of-00001") == folder / "ckpt-2"


def test_the_highest_numbered_version_is_chosen(saved, tmp_path):
    for version in ("2", "10", "9"):
        as_saved_model(saved, tmp_path / "model" / version)
    assert prefix_in(tmp_path / "model") == tmp_path / "model/10/variables/variables"
    archive = tarball(tmp_path / "w.tar.gz", tmp_path / "model", "w:gz")
    assert read_checkpoint(archive).where == f"{archive}: 10/variables/variables"


def test_ambiguous_checkpoints_are_listed(saved, tmp_path):
    as_checkpoints(saved, tmp_path / "w", 1, 2)
    with pytest.raises(UserError, match=r"w should hold one checkpoint .*found ckpt-1\.index, ckpt-2\.index; name one of them"):
        prefix_in(tmp_path / "w")
    as_saved_model(saved, tmp_path / "both" / "a")
    as_saved_model(saved, tmp_path / "both" / "b")
    with pytest.raises(UserError, match=r"found a/variables/variables\.index, b/variables/variables\.index"):
        prefix_in(tmp_path / "both")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("name", ["w.tar.gz", "movinet weights"])
def test_tarballs_of_any_compression_and_name_are_read(saved, tmp_path, mode, name):
    for arcname in (".", "movinet_a0_base", ""):
        path = tarball(tmp_path / name, as_checkpoints(saved, tmp_path / "w", 3, 4, state="ckpt-3"), mode, arcname)
        assert read_checkpoint(path).where.endswith("ckpt-3")
        assert set(read_checkpoint(path).index.tensors) == set(KEYS)
        shutil.rmtree(tmp_path / "w")


def test_macos_metadata_in_an_archive_are_ignored(saved, tmp_path):
    folder = as_checkpoints(saved, tmp_path / "w", 1)
    (folder / "._ckpt-1.index").write_bytes(b"\0\5\x16\7")
    assert prefix_in(folder) == folder / "ckpt-1"


def test_a_classifier_of_this_pipeline_is_refused(saved, tmp_path):
    folder = as_checkpoints(saved, tmp_path / "models" / "classifier", 1)
    as_saved_model(saved, folder / "saved_model")
    (folder / "classifier.json").write_text("{}")
    expected = rf"is a classifier that this pipeline trained.*; to classify with it: .* --model {folder}"
    for path in (folder, tmp_path / "models"):
        with pytest.raises(UserError, match=expected):
            read_checkpoint(path)


def test_missing_files_are_reported(saved, tmp_path):
    folder = as_checkpoints(saved, tmp_path / "w", 1)
    (folder / "ckpt-1.index").rename(tmp_path / "kept.index")
    with pytest.raises(UserError, match=r"holds the values of a checkpoint, and its index \(ckpt-1\.index\) is not next to it"):
        local_prefix(folder / "ckpt-1.data-00000-of-00001")
    (tmp_path / "kept.index").rename(folder / "ckpt-1.index")
    (folder / "ckpt-1.data-00000-of-00001").unlink()
    for path in (folder, tarball(tmp_path / "w.tar", folder)):
        with pytest.raises(UserError, match=r"ckpt-1\.index is there, but not the values next to it \(ckpt-1\.data-00000-of-"):
            read_checkpoint(path)
    with pytest.raises(UserError, match="nowhere: no such tarball, folder or checkpoint prefix; name a tarball"):
        read_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_truncated_index_is_refused(saved, tmp_path, cut):
    content = (saved / "ckpt-1.index").read_bytes()
    with pytest.raises(NotAnIndexError):
        read_shapes(content[:cut])
    folder = as_checkpoints(saved, tmp_path / "w", 1)
    (folder / "ckpt-1.index").write_bytes(content[: len(content) // 2] + content[-48:])
    with pytest.raises(UserError, match="w is not a readable TensorFlow checkpoint: ckpt-1: it is"):
        read_checkpoint(folder)


def zip_file(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(60)), "a TensorFlow Lite model.*; .*predict --model"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)), r"an HDF5 file \(\.h5\)"),
        (lambda path: zip_file(path, "config.json", "model.weights.h5"), r"a Keras model \(\.keras\)"),
        (lambda path: zip_file(path, "archive/data.pkl", "archive/data/0"), "a PyTorch file that cannot be read"),
        (lambda path: path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"), "a PyTorch file of the format before"),
        (lambda path: zip_file(path, "ckpt-1.index"), "a zip archive.*; unpack it and name the folder"),
        (lambda path: path.write_bytes(b"PK\x03\x04cut"), "a zip archive that is cut short.*; fetch it again"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer.*; run git lfs pull"),
        (lambda path: path.write_text("<!DOCTYPE html><html>Access denied</html>"), "a web page.*; fetch it again"),
        (lambda path: path.write_text("one\ntwo\n"), "a text file"),
        (lambda path: path.write_bytes(b"\xff\xfe\0\1" * 300), "of an unknown format"),
        (lambda path: path.touch(), "an empty file"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(100)), r"not a whole tar archive \(.+\); fetch it again$"),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_identified(tmp_path, make, message):
    path = tmp_path / "weights.tar.gz"
    make(path)
    with pytest.raises(UserError, match=rf"weights\.tar\.gz is {message}") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value) and caught.value.advice


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_truncated_archive_is_refused(saved, tmp_path, mode):
    whole = tarball(tmp_path / "whole", saved, mode).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut is not a whole tar archive"):
        read_checkpoint(tmp_path / "cut")


def archive_of(path: Path, name: str, kind: bytes = tarfile.REGTYPE, size: int = 4) -> Path:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, "/etc/passwd", size if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(bytes(size)))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../ckpt-1.index", tarfile.REGTYPE, "unsafe path"),
        ("a/../../ckpt-1.index", tarfile.REGTYPE, "unsafe path"),
        ("ckpt-1.index", tarfile.SYMTYPE, "neither a file nor a folder"),
        ("ckpt-1.index", tarfile.LNKTYPE, "neither a file nor a folder"),
        ("ckpt-1.index", tarfile.FIFOTYPE, "neither a file nor a folder"),
    ],
)
def test_an_unsafe_archive_is_refused(tmp_path, name, kind, message):
    with pytest.raises(UserError, match=message):
        read_checkpoint(archive_of(tmp_path / "w.tar", name, kind))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b", "a/b"),
        ("./a", "a"),
        ("/etc/passwd", "etc/passwd"),
        ("a/../b", "b"),
        ("..", None),
        ("../b", None),
        ("a/../..", None),
    ],
)
def test_members_stay_below_the_folder_that_they_are_unpacked_to(name, path):
    found = checkpoint_files.inside_path(name)
    assert (found if found is None else str(found)) == path


def test_an_archive_with_too_many_files_or_bytes_is_refused(saved, tmp_path, monkeypatch):
    path = tarball(tmp_path / "w.tar.gz", saved, "w:gz")
    monkeypatch.setattr(checkpoint_files, "MOST_FILES", 2)
    with pytest.raises(UserError, match="unpacks to more than 4 GB or 2 files; not unpacked"):
        read_checkpoint(path)
    monkeypatch.setattr(checkpoint_files, "MOST_FILES", 100)
    monkeypatch.setattr(checkpoint_files, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_checkpoint(path)
