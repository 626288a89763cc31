"""The features of a MoViNet that a linear classifier is fitted to, without TensorFlow."""

from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.models.movinet.apply import _activate  # made public, it would have every cached feature computed again
from pipeline.models.movinet.network.weights.bundle import VALUE, read_index


def _initial_projection(prefix: Path) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (P, 2048) and bias (2048,) of the head's first layer, from the checkpoint that embed wrote."""
    index = read_index(Path(f"{prefix}.index").read_bytes())
    files = index.data_files(prefix.name)
    found = []
    for variable in ("kernel", "bias"):
        (key,) = [key for key in index.tensors if "/_head/" in key and key.endswith(f"/{variable}{VALUE}")]
        tensor = index.tensors[key]
        with open(prefix.parent / files[tensor.shard], "rb") as file:
            file.seek(tensor.offset)
            found.append(np.frombuffer(file.read(tensor.size), "<f4").reshape(tensor.shape))
    kernel, bias = found
    return kernel.reshape(kernel.shape[-2:]), bias


def probe_features(embeddings: Path, description: ClassifierDescription, features: np.ndarray, mask: None) -> np.ndarray:
    """Implements `family.probe_features`: after the first layer of the head, with the weights from which training started.

    The trained ones have seen all classes, the published ones only those of Kinetics-600.
    """
    kernel, bias = _initial_projection(embeddings / "ckpt-1")
    return _activate(features @ kernel + bias, description.activation)
