"""Reads state dicts of MoViNet-pytorch (github.com/Atze00/MoViNet-pytorch), which contain TensorFlow Hub's weights.

A file of `torch.save` is a zip archive with a pickle of the tensors' names and shapes, and a binary file for each storage. A
pickle can run any code, so only tensors, storages and ordered dictionaries are unpickled. Does not import TensorFlow or PyTorch.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from pipeline.console import UserError
from pipeline.models.movinet.network.weights.saved_model_names import checkpoint_keys

_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_MOST_BYTES = 1 << 30  # of a storage; the largest published network has 0.13 GB in total
_SCOPES = {
    "conv1": "stem/stem",
    "conv7": "head/project",
    "classifier.0": "classifier_head/head",
    "classifier.3": "classifier_head/classifier",
    "expand": "expansion",
    "deep": "feature",
    "project": "projection",
    "se.fc1": "se/se_reduce",
    "se.fc2": "se/se_expand",
}
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_BLOCK = re.compile(r"blocks\.b(\d+)_l(\d+)\.(.+)")
_PARAMETER = re.compile(r"(.+)\.conv_([12])\.(?:(conv[23]d)\.(weight|bias)|norm\.(\w+))")


def is_pytorch(path: Path) -> bool:
    """Whether the content of a file is that of `torch.save`."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


class _Unpickler(pickle.Unpickler):
    """Unpickles a state dict with arrays as tensors; refuses all other types."""

    def __init__(self, content: bytes, read: Callable[[str], bytes]):
        super().__init__(io.BytesIO(content))
        self._read = read

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it uses {module}.{name}, which no state dict of float32 tensors needs")

    def persistent_load(self, identity: tuple) -> np.ndarray:
        _, dtype, key, _, _ = identity  # "storage", its type, the name of its file, the device, the number of elements
        return np.frombuffer(self._read(f"data/{key}"), dtype)


def _tensor(storage: np.ndarray, offset: int, shape: tuple, stride: tuple, *_: object) -> np.ndarray:
    """A copy of the tensor at `offset` of a storage. stride: in elements. Raises IndexError if it exceeds the storage."""
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if min((offset, *stride, *(size - 1 for size in shape))) < 0 or last >= storage.size or prod(shape) > storage.size:
        raise IndexError(f"a tensor of shape {tuple(shape)} does not fit its storage of {storage.size}")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()


def _state_dict(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            folder = pickled.removesuffix("data.pkl")

            def read(name: str) -> bytes:
                if archive.getinfo(folder + name).file_size > _MOST_BYTES:
                    raise IndexError(f"{name} is larger than {_MOST_BYTES >> 30} GB")
                return archive.read(folder + name)

            found = _Unpickler(read("data.pkl"), read).load()
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
    ) as error:
        message = f"{path} is a PyTorch file that cannot be read: {error}"
        raise UserError(message, advice="give a state dict of MoViNet-pytorch") from error
    if not isinstance(found, dict) or not all(isinstance(value, np.ndarray) for value in found.values()):
        raise UserError(f"{path} is a PyTorch file, but no state dict", advice="save model.state_dict()")
    return {str(key): value for key, value in found.items()}


def _convert(key: str, value: np.ndarray) -> tuple[str, np.ndarray] | None:
    """TensorFlow's name of a parameter, and its value with TensorFlow's order of axes; None if it is not of a MoViNet."""
    block = _BLOCK.fullmatch(key)
    prefix, rest = (f"b{block[1]}/l{block[2]}/", block[3]) if block else ("", key)
    if block and rest == "alpha":
        return f"{prefix}scale", value
    match = _PARAMETER.fullmatch(rest)
    if match is None:
        return None
    scope = "skip/skip_project" if block and match[1].startswith("res.") else _SCOPES.get(match[1])
    if scope is None:
        return None
    scope = f"{prefix}bneck/{scope}" if block else scope
    temporal = match[2] == "2"
    if match[5]:
        return (f"{scope}/bn{'_temporal' if temporal else ''}/{_NORM[match[5]]}", value) if match[5] in _NORM else None
    depthwise = match[1] == "deep" and match[3] == "conv2d"
    scope = f"{scope}/{match[3]}{'_temporal' if temporal else ''}" + (f"/{match[3]}" if match[3] == "conv2d" else "")
    if match[4] == "bias":
        return f"{scope}/bias", value
    if depthwise:
        return f"{scope}/depthwise_kernel", value.transpose(2, 3, 0, 1)
    return f"{scope}/kernel", value.transpose(*range(2, value.ndim), 1, 0)


def read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """The values of a state dict in TensorFlow's shapes, by the keys of a training checkpoint.

    Raises:
      UserError: not a state dict, one with other types than tensors, or one of another network.
    """
    names, values = {}, {}
    for key, value in _state_dict(path).items():
        if not key.endswith(".num_batches_tracked"):  # a counter of PyTorch's batch norm
            names[key], values[key] = _convert(key, value) or (key, value)
    keys = checkpoint_keys(names)
    unknown = [key for key in values if key not in keys]
    if unknown:
        listed = ", ".join(unknown[:3]) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
        message = f"{path} is a PyTorch state dict with parameters that are not of MoViNet-pytorch: {listed}"
        raise UserError(message, advice="give the state dict of one of its networks")
    return {keys[key]: np.array(value, order="C") for key, value in values.items()}
