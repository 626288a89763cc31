"""The interface of networks that run frame by frame, and functions for running them."""

import os
from collections.abc import Callable
from typing import Protocol

import numpy as np

from pipeline.inference.lite import IMAGE, LOGITS


def one_thread() -> None:
    """Limits TensorFlow to one thread, unless the environment sets a number. Call before anything is computed.

    A frame is too little work for several threads: with two, A0 took twice as long, and A5 as long as with one.
    """
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")


def signature_call(loaded) -> Callable:
    """`call(image, states)` of a loaded SavedModel through its signature, which is a millisecond faster than the function."""
    signature = loaded.signatures["call"]

    def call(image, states: dict) -> tuple:
        outputs = signature(**{IMAGE: image}, **states)
        return outputs.pop(LOGITS), outputs

    return call


class Stepper(Protocol):
    """A network run frame by frame."""

    def reset(self) -> None:
        """Resets the states to those before the first frame."""

    def step(self, image: np.ndarray) -> np.ndarray:
        """A frame float32 (size, size, 3) in [0, 1] -> logits float32 (N,) for all frames since `reset`."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (..., N), of the same type."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
