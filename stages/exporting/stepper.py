"""What runs frame by frame, whatever computes it, and how its answer becomes probabilities."""

from typing import Protocol

import numpy as np


class Stepper(Protocol):
    """A network run frame by frame."""

    def reset(self) -> None:
        """Forgets all frames."""

    def step(self, image: np.ndarray) -> np.ndarray:
        """A frame float32 (size, size, 3) in [0, 1] -> logits float32 (N,) for all frames since `reset`."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., N) logits -> probabilities of the same type."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
