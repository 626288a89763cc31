"""Reads the features that embed cached. In NumPy: evaluate reads them without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class CachedFeatures:
    """The cached features of a split.

    Attributes:
      features: float32 (clips, views, ...).
      labels: int32 (clips, views).
      mask: bool (clips, views, frames), False for padding; None if the family does not pad.
    """

    features: np.ndarray
    labels: np.ndarray
    mask: np.ndarray | None

    def middle(self) -> "CachedFeatures":
        """The middle view of each clip."""
        middle = self.labels.shape[1] // 2
        mask = None if self.mask is None else self.mask[:, middle : middle + 1]
        return CachedFeatures(self.features[:, middle : middle + 1], self.labels[:, middle : middle + 1], mask)

    def flat(self) -> "CachedFeatures":
        """All views, with clips and views in one axis: features (N, ...), labels (N,), mask (N, frames) or None."""
        mask = None if self.mask is None else self.mask.reshape(-1, self.mask.shape[2])
        return CachedFeatures(self.features.reshape(-1, *self.features.shape[2:]), self.labels.reshape(-1), mask)


def read_features(embeddings: Path, split: str) -> CachedFeatures:
    """Reads a split of the folder that embed wrote."""
    mask_file = embeddings / f"{split}_mask.npy"
    return CachedFeatures(
        np.load(embeddings / f"{split}.npy"),
        np.load(embeddings / f"{split}_labels.npy"),
        np.load(mask_file) if mask_file.exists() else None,
    )
