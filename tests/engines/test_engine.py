"""The engines agree, depend neither on threads nor on the views next to a view, and replace each other only as they say."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from openvino import Model
from openvino import opset13 as ops

from pipeline.console import UserError
from pipeline.engines import conversion, engine
from pipeline.engines.engine import NetworkFiles, TensorflowNetwork, open_network
from pipeline.engines.openvino_network import OpenvinoNetwork

SIZE = 8
KERNEL = np.random.default_rng(1).normal(size=(3, 3, 3, 5)).astype(np.float32)


def graph(count: int) -> Model:
    """The mean of a convolution of frames."""
    views = ops.parameter([1, count, SIZE, SIZE, 3], np.float32)
    frames = ops.transpose(ops.reshape(views, [count, SIZE, SIZE, 3], False), [0, 3, 1, 2])
    y = ops.convolution(frames, KERNEL.transpose(3, 2, 0, 1), [1, 1], [1, 1], [1, 1], [1, 1])
    return Model([ops.unsqueeze(ops.reduce_mean(ops.relu(y), [0, 2, 3]), [0])], [views], "small")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    module = tf.Module()

    def features(views):
        y = tf.nn.relu(tf.nn.conv2d(tf.reshape(views, [-1, SIZE, SIZE, 3]), KERNEL, 1, "SAME"))
        y = tf.reshape(y, tf.concat([tf.shape(views)[:4], [5]], axis=0))
        return tf.reduce_mean(y, [1, 2, 3])

    module.features = tf.function(features, input_signature=[tf.TensorSpec([None, None, SIZE, SIZE, 3], tf.float32)])
    folder = tmp_path_factory.mktemp("saved")
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.fixture
def files(saved_model) -> NetworkFiles:
    return NetworkFiles("small", saved_model, lambda loaded: loaded.features, graph)


def views(number: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng(number).random((number, count, SIZE, SIZE, 3)).astype(np.float32)


def no_gpu(monkeypatch):
    monkeypatch.setattr(engine, "has_gpu", lambda: False)


@pytest.mark.parametrize("count", [4, 2])
def test_the_engines_agree(files, count):
    """The second number of frames is not the one that the network was opened for."""
    expected = open_network(files, "tensorflow", 4)(views(7, count))
    found = open_network(files, "openvino", 4)(views(7, count))
    assert found.shape == (7, 5) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_view_gives_the_same_bits_alone_and_on_any_number_of_threads(files):
    first, *others = (OpenvinoNetwork(graph, None, 4, threads)(views(9)) for threads in (1, 2, 5))
    for other in others:
        np.testing.assert_array_equal(first, other)
    network = open_network(files, "openvino", 4)
    np.testing.assert_array_equal(first, np.concatenate([network(view[None]) for view in views(9)]))


FREE_NETWORKS_THEN_INTERRUPT = """
import signal
import numpy as np
from openvino import Model, opset13 as ops
from pipeline.engines.openvino_network import OpenvinoNetwork

def graph(count):
    views = ops.parameter([1, count, 8, 8, 3], np.float32)
    return Model([ops.reduce_mean(views, [1, 2, 3])], [views], "mean")

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with SIGINT ignored
first, second = (OpenvinoNetwork(graph, None, 4, 1) for _ in range(2))
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_raises_keyboard_interrupt_after_networks_were_freed():
    """Runs in a subprocess, because a failure is a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", FREE_NETWORKS_THEN_INTERRUPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_the_top_is_applied_to_the_graphs_results(files):
    doubled = open_network(files._replace(top=lambda features: 2 * features), "openvino", 4)
    np.testing.assert_array_equal(doubled(views(3)), 2 * open_network(files, "openvino", 4)(views(3)))


def test_by_itself_it_is_openvino_without_a_gpu_and_tensorflow_with_one(files, monkeypatch):
    no_gpu(monkeypatch)
    assert open_network(files, "auto", 4).key == {"openvino": conversion.openvino.__version__}
    monkeypatch.setattr(engine, "has_gpu", lambda: True)
    assert open_network(files, "auto", 4).key == {}


def no_checkpoint(count: int) -> Model:
    raise UserError("its folder has no checkpoint")


def impossible(count: int) -> Model:
    views = ops.parameter([1, count, SIZE, SIZE, 3], np.float32)
    return Model([ops.matmul(views, np.zeros((7, 7), np.float32), False, False)], [views], "impossible")


@pytest.mark.parametrize(("graph", "reason"), [(no_checkpoint, "its folder has no checkpoint"), (impossible, "matmul")])
def test_what_openvino_cannot_run_runs_in_tensorflow_and_that_is_said(files, monkeypatch, capsys, graph, reason):
    no_gpu(monkeypatch)
    broken = files._replace(graph=graph)
    network = open_network(broken, "auto", 4)
    assert isinstance(network, TensorflowNetwork) and network.key == {}
    said = capsys.readouterr().err
    assert "small: runs in TensorFlow, not in OpenVINO" in said and reason in said.lower()
    with pytest.raises(UserError, match=r"(?i)" + reason):
        open_network(broken, "openvino", 4)


def test_openvino_that_is_not_installed_is_said_or_an_error(files, monkeypatch, capsys):
    no_gpu(monkeypatch)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "pipeline.engines.openvino_network")
    assert isinstance(open_network(files, "auto", 4), TensorflowNetwork)
    assert "runs in TensorFlow, not in OpenVINO" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"speed.engine = openvino: cannot run small.*set speed.engine to auto or tensorflow"):
        open_network(files, "openvino", 4)


def test_a_folder_that_is_no_saved_model_is_reported(files, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read as a SavedModel"):
        open_network(files._replace(saved_model=tmp_path), "tensorflow", 4)
    with pytest.raises(UserError, match="not a SavedModel of this pipeline"):
        open_network(files._replace(function=lambda loaded: loaded.probabilities), "tensorflow", 4)


def test_a_saved_model_is_converted_once(files, saved_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    converted = []
    convert = conversion._convert
    monkeypatch.setattr(conversion, "_convert", lambda *given: converted.append(1) or convert(*given))

    def from_saved_model(count: int) -> Model:
        read = conversion.converted_graph(saved_model, lambda loaded: loaded.features)
        read.reshape({0: [1, count, SIZE, SIZE, 3]})
        return read

    expected = open_network(files, "tensorflow", 4)(views(6))
    for _ in range(2):
        found = open_network(files._replace(graph=from_saved_model), "openvino", 4)(views(6))
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert len(converted) == 1
    (folder,) = (tmp_path / ".cache/networks/openvino").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["graph.bin", "graph.xml"]
