"""Reading state dicts of MoViNet-pytorch. The tests write them in the format of torch.save, without PyTorch."""

import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.checkpoint_files import read_checkpoint
from pipeline.models.movinet.network.weights.checkpoints import restore
from pipeline.models.movinet.network.weights.finding import find_weights
from pipeline.models.movinet.network.weights.pytorch import is_pytorch, read_pytorch
from tests.models.movinet.small import small_movinet

PARTS = {"expansion": "expand", "feature": "deep", "projection": "project", "skip/skip_project": "res.1"}
PARTS |= {"se/se_reduce": "se.fc1", "se/se_expand": "se.fc2"}
LAYERS = {"stem/stem": "conv1", "head/project": "conv7", "classifier_head/head": "classifier.0"}
LAYERS |= {"classifier_head/classifier": "classifier.3"}
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def parameter(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Converts a TensorFlow variable to the name and the order of axes that it has in MoViNet-pytorch."""
    name = re.sub(r"classifier_head_\d+", "classifier_head", name.removesuffix(":0"))
    block = re.match(r"block(\d+)_layer(\d+)/(?:bneck/)?", name)
    prefix = f"blocks.b{block[1]}_l{block[2]}." if block else ""
    rest = name[block.end() :] if block else name
    if rest == "scale":
        return f"{prefix}alpha", value
    (scope,) = [scope for scope in (PARTS if block else LAYERS) if rest.startswith(f"{scope}/")]
    layer = f"{prefix}{(PARTS if block else LAYERS)[scope]}.conv_{2 if 'temporal' in rest else 1}"
    last = rest.rpartition("/")[2]
    if last in NORM:
        return f"{layer}.norm.{NORM[last]}", value
    convolution = "conv3d" if "conv3d" in rest else "conv2d"
    axes = {"bias": (0,), "depthwise_kernel": (2, 3, 0, 1), "kernel": (4, 3, 0, 1, 2) if value.ndim == 5 else (3, 2, 0, 1)}[last]
    return f"{layer}.{convolution}.{'bias' if last == 'bias' else 'weight'}", value.transpose(axes)


@pytest.fixture
def save(monkeypatch, tmp_path):
    """save(state dict) -> path of a file in the format of torch.save. Arrays are written as tensors, other objects pickled."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")

    class FloatStorage:
        __module__, __qualname__ = "torch", "FloatStorage"

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only the name of this function is pickled")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage, torch._utils, utils._rebuild_tensor_v2 = FloatStorage, utils, _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        def __init__(self, key, size):
            self.identity = ("storage", FloatStorage, key, "cpu", size)

    class Tensor:
        def __init__(self, key, value, shape=None):
            strides = [step // value.itemsize for step in value.strides]
            self.arguments = (Storage(key, value.size), 0, shape or value.shape, tuple(strides), False, OrderedDict())

        def __reduce__(self):
            return _rebuild_tensor_v2, self.arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.identity if isinstance(thing, Storage) else None

    def save(state: dict, shapes: dict | None = None) -> Path:
        path = tmp_path / "modelA0_statedict_v3"
        with zipfile.ZipFile(path, "w") as archive:
            tensors = OrderedDict()
            for number, (key, value) in enumerate(state.items()):
                if isinstance(value, np.ndarray):
                    archive.writestr(f"archive/data/{number}", np.ascontiguousarray(value, np.float32).tobytes())
                    contiguous = np.array(value, np.float32, order="C")
                    tensors[key] = Tensor(str(number), contiguous, (shapes or {}).get(key))
                else:
                    tensors[key] = value
            with archive.open("archive/data.pkl", "w") as file:
                Pickler(file, protocol=2).dump(tensors)
        return path

    return save


@pytest.mark.parametrize("variant", ["a0", "a0_stream"])
def test_a_state_dict_is_restored_completely(save, tmp_path, monkeypatch, variant):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    model = small_movinet(monkeypatch, variant)
    state = dict(parameter(variable.name, np.asarray(variable.numpy())) for variable in model.variables)
    assert len(state) == len(model.variables)
    path = save(state | {"conv1.conv_1.norm.num_batches_tracked": np.zeros(())})
    assert is_pytorch(path)
    other = small_movinet(monkeypatch, variant)
    other.set_weights([np.zeros_like(value) for value in other.get_weights()])
    assert restore(other, find_weights(str(path), VARIANTS[variant]), "w") == len(model.variables)
    assert all(np.array_equal(*both) for both in zip(model.get_weights(), other.get_weights(), strict=True))
    shapes = read_checkpoint(path).index.shapes
    assert sorted(shapes.values()) == sorted(tuple(variable.shape) for variable in model.variables)


def test_a_pickle_that_would_run_code_is_refused(save, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path = save({"conv1.conv_1.norm.weight": Evil()})
    with pytest.raises(UserError, match=r"is a PyTorch file that cannot be read: it uses \S+, which no state dict"):
        read_pytorch(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shape", [(5,), (-1,), (2, 3)])
def test_a_tensor_beyond_its_storage_is_refused(save, shape):
    path = save({"conv1.conv_1.norm.weight": np.zeros(4)}, {"conv1.conv_1.norm.weight": shape})
    with pytest.raises(UserError, match="is a PyTorch file that cannot be read"):
        read_pytorch(path)


def test_other_networks_and_other_objects_are_refused(save):
    with pytest.raises(UserError, match=r"parameters that are not of MoViNet-pytorch: layer1\.0\.weight; give the state dict of"):
        read_pytorch(save({"conv1.conv_1.norm.weight": np.zeros(4), "layer1.0.weight": np.zeros(4)}))
    with pytest.raises(UserError, match="is a PyTorch file, but no state dict"):
        read_pytorch(save({"epoch": 3}))
