"""Opens a frozen network in the engine of `speed.engine`. A new engine is an entry of ENGINES.

Invariants: all engines compute in float32, and their results agree to 1e-5 of the largest value. One that cannot run a network is
replaced by TensorFlow only under `auto`, and that is said.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, get_args

import numpy as np

from pipeline.console import UserError, say
from pipeline.settings import EngineName

if TYPE_CHECKING:
    from openvino import Model

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's and the Windows Subsystem's
Opened = TypeVar("Opened")


class Network(Protocol):
    """A network as a function of views.

    Attributes:
      key: what the last digits of its results depend on, for the keys of caches; empty for TensorFlow.
    """

    key: dict[str, str]

    def __call__(self, views: np.ndarray) -> np.ndarray:
        """Views float32 (N, T, size, size, 3) in [0, 1] -> float32 (N, ...)."""


class NetworkFiles(NamedTuple):
    """A frozen network on disk, in the form that each engine needs.

    Attributes:
      name: for messages.
      saved_model: folder of a SavedModel. function: of the loaded SavedModel, its function of views.
      graph: for a number of frames T, a function of one view (1, T, size, size, 3). Raises UserError if it cannot be made.
      top: applied to the results of `graph`, if `function` does more; None: nothing.
    """

    name: str
    saved_model: Path
    function: Callable[[object], Callable]
    graph: "Callable[[int], Model]"
    top: Callable[[np.ndarray], np.ndarray] | None = None


class StreamGraph(NamedTuple):
    """A network as a function of a frame and of states.

    Attributes:
      model: inputs: the frame float32 (1, size, size, 3) in [0, 1]; its number from 1, float32 (1,); then the states of each
        layer, oldest first. Outputs: logits (1, N); then the newest state of each layer, an input of the next frame.
      states: number of states of each layer.
    """

    model: "Model"
    states: Sequence[int]


class TensorflowNetwork:
    """See `Network`."""

    def __init__(self, files: NetworkFiles, count: int, threads: int | None):
        import tensorflow as tf

        self.key: dict[str, str] = {}
        try:
            self._loaded = tf.saved_model.load(str(files.saved_model))  # owns the variables of its functions
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"{files.saved_model}: cannot be read as a SavedModel ({_short(error)})") from error
        try:
            self._function = files.function(self._loaded)
        except AttributeError as error:
            message = f"{files.saved_model}: not a SavedModel of this pipeline ({_short(error)})"
            raise UserError(message, advice="export or train it again") from error

    def __call__(self, views: np.ndarray) -> np.ndarray:
        return np.asarray(self._function(views))


def _open_openvino(files: NetworkFiles, count: int, threads: int | None) -> Network:
    from pipeline.engines.openvino_network import OpenvinoNetwork

    return OpenvinoNetwork(files.graph, files.top, count, threads)


ENGINES: dict[str, Callable[[NetworkFiles, int, int | None], Network]] = {
    "tensorflow": TensorflowNetwork,
    "openvino": _open_openvino,
}
assert set(ENGINES) == set(get_args(EngineName)) - {"auto"}


def has_gpu() -> bool:
    """Whether TensorFlow has a GPU. TensorFlow is imported only on machines that may have one."""
    if "tensorflow" not in sys.modules and not any(Path(device).exists() for device in _GPU_DEVICES):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def open_network(files: NetworkFiles, engine: EngineName, count: int, threads: int | None = None) -> Network:
    """Opens a network.

    Args:
      count: frames of most views; other numbers are possible if the network allows them.
      threads: for the processor; None: one for each core. TensorFlow's are those of its process.

    Raises:
      UserError: the engine that was asked for cannot run it.
    """
    openers = {name: partial(opener, files, count, threads) for name, opener in ENGINES.items()}
    return open_in_engine(files.name, openers, engine)


def open_in_engine(name: str, openers: Mapping[str, Callable[[], Opened]], engine: EngineName) -> Opened:
    """Opens a network in an engine. name: for messages. openers: what opens it in each engine.

    Raises:
      UserError: the engine that was asked for cannot run it.
    """
    if engine == "auto":
        engine = "tensorflow" if has_gpu() else "openvino"
        if engine == "openvino":
            try:
                return openers[engine]()
            except (UserError, ImportError, RuntimeError) as error:  # OpenVINO raises RuntimeError
                say(f"{name}: runs in TensorFlow, not in OpenVINO ({_short(error)})")
                engine = "tensorflow"
    try:
        return openers[engine]()
    except (ImportError, RuntimeError) as error:
        message = f"speed.engine = {engine}: cannot run {name}: {_short(error)}"
        raise UserError(message, advice="set speed.engine to auto or tensorflow") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
