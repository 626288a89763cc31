"""Interpolates between the weights before and after a training.

WiSE-FT: Wortsman et al. 2022, "Robust Fine-Tuning of Zero-Shot Models".

Invariant: the mean validation log loss of the chosen step is at most one standard error of the difference above the lowest of all
steps, and no smaller step has that. So a training that gains nothing is undone.
"""

from collections.abc import Callable

import numpy as np
import tf_keras

from pipeline.artifacts import Interpolation
from pipeline.console import say

STEPS = tuple(number / 10 for number in range(11))  # 0: the weights before the training; 1: those after it


def clip_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log loss of each clip, of the mean probabilities of its views: logits (clips, views, classes) -> (clips,), in nats."""
    powers = np.exp(np.float64(logits) - logits.max(axis=-1, keepdims=True))
    mean = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)
    return -np.log(np.maximum(mean[np.arange(len(labels)), labels], np.finfo(np.float32).eps))


def interpolate(
    network: tf_keras.Model,
    start: list[np.ndarray],
    logits_of: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> tuple[Interpolation, np.ndarray, np.ndarray]:
    """Sets `network` to the step between `start` and its own weights that the validation clips choose.

    Args:
      start: the weights before the training, in the order of `get_weights`.
      logits_of: the logits (clips, views, classes) of the validation clips and their labels, with the network's present weights.

    Returns:
      The losses of all steps and the one that was chosen; and the logits and the labels at that step.
    """
    end = network.get_weights()
    results = []
    for step in STEPS:
        network.set_weights([_between(before, after, step) for before, after in zip(start, end, strict=True)])
        results.append(logits_of())
    losses = np.stack([clip_losses(*result) for result in results])
    chosen = choose_step(losses)
    network.set_weights([_between(before, after, STEPS[chosen]) for before, after in zip(start, end, strict=True)])
    means = losses.mean(axis=1)
    say(
        f"between the start (validation log loss {means[0]:.4f}) and the trained network ({means[-1]:.4f}): "
        f"step {STEPS[chosen]:g} ({means[chosen]:.4f})"
    )
    return Interpolation(steps=list(STEPS), log_loss=means.tolist(), chosen=STEPS[chosen]), *results[chosen]


def choose_step(losses: np.ndarray) -> int:
    """The smallest step whose mean loss is within one standard error of the lowest: losses (steps, clips) -> index.

    The standard error is that of the difference on the same clips. That of a mean would count how much clips differ in
    difficulty, which all steps share, and undo trainings that improve most clips.
    """
    excess = losses - losses[losses.mean(axis=1).argmin()]
    clips = losses.shape[1]
    errors = excess.std(axis=1, ddof=1) / np.sqrt(clips) if clips > 1 else np.zeros(len(losses))
    return int(np.flatnonzero(excess.mean(axis=1) <= errors)[0])


def _between(before: np.ndarray, after: np.ndarray, step: float) -> np.ndarray:
    return after if not np.issubdtype(after.dtype, np.floating) else ((1 - step) * before + step * after).astype(after.dtype)
