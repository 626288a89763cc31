"""The features of a MoViNet that a linear classifier is fitted to, without TensorFlow."""

from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.models.movinet.apply import activate
from pipeline.models.movinet.network.saved_head import read_head


def probe_features(embeddings: Path, description: ClassifierDescription, features: np.ndarray, mask: None) -> np.ndarray:
    """Implements `family.probe_features`: after the first layer of the head, with the weights from which training started.

    The trained ones have seen all classes, the published ones only those of Kinetics-600.
    """
    start = read_head(embeddings / "ckpt-1")
    return activate(features @ start.projection + start.projection_bias, description.activation)
