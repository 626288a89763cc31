"""Converts a function of a SavedModel to an OpenVINO graph, once: the graph is kept in `.cache/networks`.

OpenVINO reads TensorFlow's graphs itself; its Python converter, which reports usage to its makers, is not used.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import openvino

from pipeline.engines.openvino_core import read_graph
from pipeline.files import atomic_folder, content_key, scratch, sha256


def converted_graph(saved_model: Path, function: Callable[[object], Callable]) -> openvino.Model:
    """The graph of a function of one tensor, whose weights are constants. The shape of its argument may be dynamic.

    function: of the loaded SavedModel, the function to convert, a tf.function with one signature.

    Raises:
      RuntimeError: OpenVINO does not know an operation.
    """
    folder = scratch("networks", "openvino") / content_key(sha256(saved_model / "saved_model.pb"), openvino.__version__)
    if not folder.exists():
        with atomic_folder(folder) as part:
            openvino.save_model(_convert(saved_model, function), part / "graph.xml", compress_to_fp16=False)
    return read_graph(folder / "graph.xml")


def _convert(saved_model: Path, function: Callable[[object], Callable]) -> openvino.Model:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    graph = function(loaded).get_concrete_function().graph.as_graph_def()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(graph.SerializeToString())
        return read_graph(path)
