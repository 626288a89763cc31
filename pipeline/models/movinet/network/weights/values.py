"""Reads the values of a checkpoint's variables without TensorFlow."""

from pathlib import Path

import numpy as np

from pipeline.models.movinet.network.weights.bundle import VALUE
from pipeline.models.movinet.network.weights.checkpoint_files import read_prefix
from pipeline.models.movinet.network.weights.layouts import contents_of

_BACKBONE = "model/layer_with_weights-0/"


def backbone_values(prefix: Path) -> dict[str, np.ndarray]:
    """The float32 values of the backbone's variables by key, relative to the backbone and without suffix.

    Raises:
      UserError: the checkpoint cannot be read. Checksums of values are not checked.
    """
    checkpoint = read_prefix(Path(prefix))
    index = checkpoint.index
    files = [Path(prefix).parent / name for name in index.data_files(Path(prefix).name)]
    maps = [np.memmap(file, np.uint8, "r") for file in files]
    values = {}
    for key, stored in contents_of(index.shapes, checkpoint.names).variables.items():
        if key.startswith(_BACKBONE):
            tensor = index.tensors[stored]
            content = maps[tensor.shard][tensor.offset : tensor.offset + tensor.size]
            values[key.removeprefix(_BACKBONE).removesuffix(VALUE)] = np.frombuffer(content.tobytes(), "<f4").reshape(
                tensor.shape
            )
    return values
