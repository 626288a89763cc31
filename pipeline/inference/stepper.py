"""What runs frame by frame, whatever computes it, and how its answer becomes probabilities."""

import os
from collections.abc import Callable
from typing import Protocol

import numpy as np

from pipeline.inference.lite import IMAGE, LOGITS


def one_thread() -> None:
    """Has TensorFlow use one thread, unless the environment says how many. Call before anything is computed.

    A frame is too little work to share: two threads took twice as long with A0, and as long with A5.
    """
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")


def signature_call(loaded) -> Callable:
    """`call(image, states)` of a loaded SavedModel by way of its signature, which takes a millisecond less than the function."""
    signature = loaded.signatures["call"]

    def call(image, states: dict) -> tuple:
        outputs = signature(**{IMAGE: image}, **states)
        return outputs.pop(LOGITS), outputs

    return call


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
