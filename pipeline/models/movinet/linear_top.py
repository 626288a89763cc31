"""A head of which only the last layer is fitted, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.models.movinet.apply import HeadValues, activate
from pipeline.models.movinet.network.saved_head import read_head, write_head
from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune


@dataclass(frozen=True)
class Projection:
    """Implements `family.Probe`: the first layer of the head. projection, bias: see `HeadValues`."""

    projection: np.ndarray
    bias: np.ndarray
    activation: str

    def inputs(self, features: np.ndarray) -> np.ndarray:
        return activate(features @ self.projection + self.bias, self.activation)

    def save(self, kernel: np.ndarray, bias: np.ndarray, embeddings: Path, folder: Path) -> int:
        return write_head(HeadValues(self.projection, self.bias, kernel, bias), embeddings, folder)


def open_probe(model: Settings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> Projection:
    """Implements `family.open_probe`."""
    if finetune.reuse_projection:
        start = read_head(embeddings / "ckpt-1")
        return Projection(start.projection, start.projection_bias, model.activation)
    from pipeline.models.movinet.top import build_top  # imports Keras, whose initial weights these are

    projection, bias, *_ = build_top(model, finetune, embeddings, num_classes, seed).get_weights()
    return Projection(projection, bias, model.activation)
