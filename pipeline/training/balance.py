"""Makes rare classes count as much as frequent ones, by weights in the loss or by drawing their examples more often.

Invariants: the mean weight of the examples is 1, and the weights of each class sum to the same. An epoch of balanced draws has as
many examples as one without, and is a function of (seed, epoch).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

GRID = 1 << 20  # offsets of the draws are multiples of 1 / GRID, and never 0


def class_weights(counts: Sequence[int]) -> np.ndarray:
    """The weight of an example by class, float64 (C,), inversely proportional to the class's count; 0 for an absent class."""
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def draw_offset(seed: int, epoch: int) -> float:
    """The random offset of an epoch's draws, in (0, 1)."""
    return (int(np.random.default_rng([seed, epoch]).integers(GRID - 1)) + 1) / GRID


def balanced_copies(weights: np.ndarray, offset: float) -> np.ndarray:
    """How often each example is drawn, int64 (N,), by systematic sampling: its weight rounded up or down, N in all.

    weights: float64 (N,) with mean 1.
    """
    ends = np.floor(np.cumsum(weights) + offset).astype(np.int64)
    return np.diff(ends, prepend=0)


def training_losses(
    label_smoothing: float, weights: Sequence[float] | None = None
) -> "Callable[[tf.Tensor, tf.Tensor], tf.Tensor]":
    """The loss of each example: (targets (B, C), logits (B, C)) -> float32 (B,). weights: by class; None: all are 1.

    A target that is a mixture of classes has the mixture of their weights.
    """
    import tensorflow as tf  # here, because a probe uses this module without it
    import tf_keras

    losses = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing, reduction="none")
    if weights is None:
        return lambda targets, logits: losses(targets, logits)
    by_class = tf.constant(weights, tf.float32)
    return lambda targets, logits: losses(targets, logits) * tf.linalg.matvec(targets, by_class)
