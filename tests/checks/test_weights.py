"""Checkpoints are written by TensorFlow and read without it. test_variants.py holds the layouts of the variants."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.checks.weights import check_needed_weights
from pipeline.models.movinet import check as movinet_check
from pipeline.models.movinet.network.variants import PUBLISHED_ROOT, VARIANTS
from pipeline.models.movinet.network.weights import layouts as movinet_layouts
from pipeline.models.movinet.network.weights.bundle import VALUE, read_shapes
from pipeline.models.movinet.network.weights.layouts import contents_of, layout_of
from pipeline.models.movinet.network.weights.published import cached_file
from pipeline.models.movinet.settings import Settings
from tests.range_server import RangeServer

TRUNK, LAST = "model/layer_with_weights-0", "model/layer_with_weights-1/_classifier/_conv"
ONE = {f"{TRUNK}/kernel{VALUE}": (2, 3), f"{LAST}/kernel{VALUE}": (3, 600), f"{LAST}/bias{VALUE}": (600,)}
OTHER = {f"{TRUNK}/kernel{VALUE}": (2, 4), f"{LAST}/kernel{VALUE}": (4, 600), f"{LAST}/bias{VALUE}": (600,)}
FEWER = {**ONE, f"{LAST}/kernel{VALUE}": (3, 5), f"{LAST}/bias{VALUE}": (5,)}
EXTRA = {f"save_counter{VALUE}": (), f"optimizer/m{VALUE}": (2, 3), "_CHECKPOINTABLE_OBJECT_GRAPH": ()}


@pytest.fixture(autouse=True)
def layouts(monkeypatch):
    table = {
        "a0": replace(layout_of(contents_of(ONE)), blocks=15),
        "a1": replace(layout_of(contents_of(OTHER)), blocks=20),
    }
    for module in (movinet_check, movinet_layouts):
        monkeypatch.setattr(module, "LAYOUTS", table)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders `one`, `other`, `fewer` and `many` with a checkpoint `ckpt-1` each."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("saved")
    many = {f"{TRUNK}/layer-{number}/a_rather_long_name{VALUE}": (number + 1, 300) for number in range(700)}
    for name, shapes in {"one": ONE | EXTRA, "other": OTHER, "fewer": FEWER, "many": many}.items():
        (root / name).mkdir()
        keys = sorted(shapes)
        values = [np.zeros(shapes[key], np.float32) for key in keys]
        tf.raw_ops.SaveV2(
            prefix=str(root / name / "ckpt-1"), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=values
        )
        read = tf.train.load_checkpoint(str(root / name / "ckpt-1")).get_variable_to_shape_map()
        assert read_shapes((root / name / "ckpt-1.index").read_bytes()) == {key: tuple(shape) for key, shape in read.items()}
    return root


def model(weights: str, name: str = "a0") -> Settings:
    return Settings.of_id(name).model_copy(update={"weights": weights})


def check(path: object, needed: bool = True):
    return check_needed_weights(model(str(path)), needed)


def tarball(path: Path, folder: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="movinet")
    return path


def test_a_tarball_a_folder_a_prefix_and_a_relative_path_are_read(saved, workspace):
    archive = tarball(workspace / "w.tar.gz", saved / "one")
    for path in (archive, "w.tar.gz", saved / "one", saved / "one/ckpt-1", saved / "one/ckpt-1.index"):
        found = check(path)
        assert found.status == "ok" and "all 3 variables of a0" in found.message
    assert check("random").status == "ok"


def test_a_checkpoint_of_another_variant_is_named(saved):
    found = check(saved / "other")
    assert found.status == "problem" and "these are weights of a1, not of a0" in found.message and "set model=a1" in found.advice


def test_a_checkpoint_of_other_classes_is_a_problem(saved):
    found = check(saved / "fewer")
    assert found.status == "problem" and "a0 with 5 classes, not 600" in found.message
    assert "use --model models/classifier" in found.advice


def test_a_checkpoint_of_nothing_known_is_a_problem(saved):
    found = check(saved / "many")
    assert found.status == "problem" and "does not fit a0 (700 variables, not 3)" in found.message


def test_absent_and_incomplete_checkpoints_are_problems(saved, workspace):
    cases = {}
    cases["no such tarball, folder or checkpoint prefix"] = "nowhere"
    (workspace / "empty").mkdir()
    cases["should hold one checkpoint (a *.index file), found none"] = "empty"
    shutil.copytree(saved / "one", workspace / "no_values", ignore=shutil.ignore_patterns("*.data*"))
    cases["not the values next to it (ckpt-1.data-00000-of-00001)"] = "no_values"
    shutil.copytree(saved / "one", workspace / "cut")
    (workspace / "cut/ckpt-1.index").write_bytes((saved / "one/ckpt-1.index").read_bytes()[:-20])
    cases["not a readable TensorFlow checkpoint"] = "cut"
    (workspace / "w.tar.gz").write_bytes(tarball(workspace / "x.tar.gz", saved / "one").read_bytes()[:-200])
    cases["not a whole tar archive"] = "w.tar.gz"
    (workspace / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    cases["a TensorFlow Lite model, not MoViNet weights"] = "m.tflite"
    for message, path in cases.items():
        found = check(path)
        assert found.status == "problem" and message in found.message, found
        assert "\n" not in found.message and found.advice
    assert check("nowhere", needed=False).status == "warning"


def test_a_file_that_only_has_a_published_name_is_reported(saved, workspace):
    name = VARIANTS["a1"].checkpoint
    found = check_needed_weights(model(str(tarball(workspace / name, saved / "other")), "a1"), True)
    assert found.status == "ok" and f"(the file is not the published {name}: its size or SHA-256 is another)" in found.message


def test_a_url_is_requested_but_not_fetched(saved, tmp_path):
    content = tarball(tmp_path / "w.tar.gz", saved / "many").read_bytes() + bytes(50_000_000)
    with RangeServer({"w.tar.gz": content}) as server:
        assert check(server.url("w.tar.gz")).status == "ok"
        assert server.bytes < len(content) / 2
        found = check(server.url("none.tar.gz"))
        assert found.status == "problem" and "the server answers 404" in found.message
        away = server.url("w.tar.gz").replace("127.0.0.1", "anna:secret@127.0.0.1")
    found = check(away)
    assert found.status == "problem" and "no answer" in found.message and "secret" not in found.message


def test_cached_weights_are_read(saved, workspace):
    url = "http://127.0.0.1:1/w.tar.gz"
    there = cached_file(url)
    there.parent.mkdir(parents=True)
    tarball(there, saved / "other")
    assert "weights of a1" in check(url).message
    there = workspace / ".cache/weights/kaggle/models" / VARIANTS["a0"].kaggle
    shutil.copytree(saved / "one", there)
    there.with_name(f"{there.name}.complete").touch()
    found = check("pretrained")
    assert found.status == "ok" and str(there) in found.message


def test_an_invalid_url_is_a_problem():
    found = check("http://[/w.tar")
    assert found.status == "problem" and "not a usable URL" in found.message


def test_published_weights_are_looked_for_in_both_places(monkeypatch):
    url = f"{PUBLISHED_ROOT}/{VARIANTS['a0'].checkpoint}"
    answers = {}
    monkeypatch.setattr(movinet_check, "_answers", lambda url: answers[url])
    answers |= {url: None}
    assert check("pretrained").status == "ok"
    answers |= {url: "the server answers 403 Forbidden", movinet_check.KAGGLE: None}
    found = check("pretrained")
    assert found.status == "warning" and "403" in found.message and "Kaggle Models answers" in found.message
    answers[movinet_check.KAGGLE] = "no answer (ConnectionError)"
    found = check("pretrained")
    assert found.status == "problem" and "movinet_a0_base.tar.gz" in found.advice
    assert check_needed_weights(model("pretrained", "a0_stream_relu6"), True).status == "problem"


REAL = {
    ("movinet_a0_stream_k600.tar.gz", "a0_stream_relu6"): "ok holds all 329 variables of a0_stream_relu6, in name and shape",
    ("movinet_a0_stream_k600.tar.gz", "a0_stream"): "problem these are weights of a0_stream_relu6, not of a0_stream",
    (
        "published/native_a0_stream_savedmodel_variables.tar",
        "a0_stream",
    ): "ok the SavedModel holds all 389 variables of a0_stream",
    (
        "published/native_a0_stream_savedmodel_variables.tar",
        "a2_stream",
    ): "problem these are weights of a0_stream, not of a2_stream",
    ("published/native_a0_base_checkpoint.tar", "a0"): "ok holds all 334 variables of a0",
    ("published/native_a0_base_checkpoint.tar", "a0_stream"): "problem these are weights of a0, not of a0_stream",
    ("movinet_a0_stream_k600_int8.tflite", "a0_stream"): "problem a TensorFlow Lite model, not MoViNet weights",
    ("mobilenet_1_0_224_tf_no_top.h5", "a0"): "problem an HDF5 file (.h5)",
}
CHECK_REAL = """
import json, sys
from pipeline.checks.weights import check_needed_weights
from pipeline.models.movinet.settings import Settings

for file, variant in json.loads(sys.argv[1]):
    found = check_needed_weights(Settings.of_id(variant).model_copy(update={"weights": file}), True)
    print(found.status, found.message)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.real
def test_real_files_are_recognised_without_tensorflow():
    """In a process of its own, as this one has imported TensorFlow."""
    folder = os.environ.get("MOVINET_REAL_DATA")
    if not folder:
        pytest.skip("MOVINET_REAL_DATA names no folder with real weights")
    given = json.dumps([(f"{folder}/{file}", variant) for file, variant in REAL])
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", CHECK_REAL, given], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for line, (case, message) in zip(done.stdout.splitlines(), REAL.items(), strict=True):
        status, expected = message.split(" ", 1)
        assert line.startswith(f"{status} ") and expected in line, case
