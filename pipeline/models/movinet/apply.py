"""The head in NumPy: its weights, and its probabilities for cached features. NumPy avoids the slow import of TensorFlow.

Invariants: `network.head.apply_head` computes the same in TensorFlow; a test compares the two.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.files import atomic_file


@dataclass(frozen=True)
class HeadValues:
    """The weights of a head, float32.

    Attributes:
      projection: (features, 2048). projection_bias: (2048,).
      classifier: (2048, classes). classifier_bias: (classes,).
    """

    projection: np.ndarray
    projection_bias: np.ndarray
    classifier: np.ndarray
    classifier_bias: np.ndarray


def save_head(values: HeadValues, path: Path) -> None:
    """Writes the four arrays to an .npz file."""
    with atomic_file(path) as part, open(part, "wb") as file:
        np.savez(file, **vars(values))


def load_head(path: Path) -> HeadValues:
    with np.load(path) as arrays:
        return HeadValues(**arrays)


def activate(x: np.ndarray, activation: str) -> np.ndarray:
    """The activation of the head, element by element."""
    if activation == "relu6":
        return np.clip(x, 0, 6)
    if activation == "hard_swish":
        return x * np.clip(x + 3, 0, 6) / 6
    if activation == "swish":
        return x * (0.5 * np.tanh(x / 2) + 0.5)  # the sigmoid, without overflow
    raise ValueError(f"unknown activation {activation!r}")


def head_probabilities(features: np.ndarray, values: HeadValues, activation: str) -> np.ndarray:
    """Probabilities float32 (B, classes) of features float32 (B, P)."""
    hidden = activate(features @ values.projection + values.projection_bias, activation)
    logits = hidden @ values.classifier + values.classifier_bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predict(classifier: Path, description: ClassifierDescription, features: np.ndarray, mask: None) -> np.ndarray:
    """Implements `family.predict`."""
    return head_probabilities(features, load_head(classifier / "head.npz"), description.activation)
