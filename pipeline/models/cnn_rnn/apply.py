"""The recurrent top in NumPy: its weights, and its probabilities for cached features. NumPy avoids the import of TensorFlow.

Invariants: `network.recurrent` computes the same in TensorFlow (`RecurrentTop`) and in Keras; a test compares the three.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.files import atomic_file

TOP_FILE = "top.npz"


@dataclass(frozen=True)
class TopValues:
    """The weights of a recurrent top, float32.

    Attributes:
      recurrent: for each GRU, Keras's kernel (inputs, 3 units), recurrent kernel (units, 3 units) and bias (2, 3 units). The
        gates are in the order update, reset, candidate; the reset gate is applied after the matrix product, as in cuDNN's
        variant of the GRU of Cho et al. 2014.
      dense: for each dense layer, kernel and bias. A ReLU follows each layer but the last.
    """

    recurrent: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def from_weights(cls, weights: list[np.ndarray], layers: int) -> "TopValues":
        """Converts a Keras model's `get_weights()`. layers: number of recurrent layers."""
        recurrent = tuple(tuple(weights[3 * layer : 3 * layer + 3]) for layer in range(layers))
        rest = weights[3 * layers :]
        return cls(recurrent, tuple(zip(rest[0::2], rest[1::2], strict=True)))

    @property
    def parameters(self) -> int:
        return sum(array.size for layer in (*self.recurrent, *self.dense) for array in layer)

    def save(self, path: Path) -> None:
        arrays = {f"gru{layer}_{part}": array for layer, gru in enumerate(self.recurrent) for part, array in enumerate(gru)}
        arrays |= {f"dense{layer}_{part}": array for layer, dense in enumerate(self.dense) for part, array in enumerate(dense)}
        with atomic_file(path) as part, open(part, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "TopValues":
        with np.load(path) as arrays:
            layers = {name.split("_")[0] for name in arrays.files}
            grus, denses = (sum(name.startswith(kind) for name in layers) for kind in ("gru", "dense"))
            recurrent = tuple(tuple(arrays[f"gru{layer}_{part}"] for part in range(3)) for layer in range(grus))
            dense = tuple(tuple(arrays[f"dense{layer}_{part}"] for part in range(2)) for layer in range(denses))
        return cls(recurrent, dense)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(x / 2) + 0.5  # equal to 1 / (1 + exp(-x)), without overflow


def _gru(inputs: np.ndarray, mask: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The states after each step, float32 (N, T, units), of inputs (N, T, P). A masked step does not change the state."""
    units = len(recurrent)
    projected = inputs @ kernel + bias[0]
    state = np.zeros((len(inputs), units), np.float32)
    states = np.empty((*inputs.shape[:2], units), np.float32)
    for step in range(inputs.shape[1]):
        gates = state @ recurrent + bias[1]
        update = _sigmoid(projected[:, step, :units] + gates[:, :units])
        reset = _sigmoid(projected[:, step, units : 2 * units] + gates[:, units : 2 * units])
        candidate = np.tanh(projected[:, step, 2 * units :] + reset * gates[:, 2 * units :])
        state = np.where(mask[:, step, None], update * state + (1 - update) * candidate, state)
        states[:, step] = state
    return states


def top_probabilities(values: TopValues, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Probabilities float32 (N, C) of features float32 (N, T, P); mask: bool (N, T)."""
    x = features
    for gru in values.recurrent:
        x = _gru(x, mask, *gru)
    x = x[:, -1]
    for number, (kernel, bias) in enumerate(values.dense, 1):
        x = x @ kernel + bias
        x = np.maximum(x, 0) if number < len(values.dense) else x
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def predict(classifier: Path, description: ClassifierDescription, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """See `family.predict`."""
    return top_probabilities(TopValues.load(classifier / TOP_FILE), features, mask)
