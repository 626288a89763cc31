"""The features of a CNN-RNN that a linear classifier is fitted to."""

from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription


def probe_features(embeddings: Path, description: ClassifierDescription, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Implements `family.probe_features`: the mean over the frames that are not padding."""
    weights = mask[:, :, None].astype(np.float32)
    return (features * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
