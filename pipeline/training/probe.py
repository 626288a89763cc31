"""A linear probe: multinomial logistic regression on the inputs of a top's last layer, over cached features. Without TensorFlow.

It is convex: no learning rate, no epochs, no seed. Inputs are standardised, which is then folded into the last layer, so that the
result is a classifier like any other. The weight of the L2 penalty is chosen on validation, from PENALTIES.

Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes". Kornblith et al. 2019, "Do Better
ImageNet Models Transfer Better?", choose the penalty on validation likewise.
"""

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.artifacts import ClassifierDescription, EmbedSummary
from pipeline.console import UserError, progress, say
from pipeline.models.family import Probe, open_probe
from pipeline.training.balance import class_weights
from pipeline.training.cached_features import CachedFeatures, read_features
from pipeline.training.contract import HISTORY, Decide, Training
from pipeline.training.outputs import write_classifier

PENALTIES = tuple(10.0 ** (power / 2) for power in range(2, -13, -1))  # 10 to 1e-6, of the mean loss: lambda/2 * |W|^2
_SMALLEST_DEVIATION = 1e-6  # of an input that hardly varies, so that it is not blown up
_SMALL = 10**8  # multiplications: below, threads cost more than they save (on two busy cores 40 s of processor time, not 2)
_STEPS = 2_000  # of the solver for a penalty; where classes can be told apart it needs hundreds
_TOLERANCE = 1e-7  # of the gradient, so that results agree to many digits between machines


class LinearLayer(NamedTuple):
    """logits = inputs @ kernel + bias; float64 (D, C) and (C,)."""

    kernel: np.ndarray
    bias: np.ndarray

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Softmax of the logits: inputs (..., D) -> (..., C)."""
        logits = inputs @ self.kernel + self.bias
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)


def fit(
    inputs: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalties: tuple[float, ...] = PENALTIES,
    weights: np.ndarray | None = None,
) -> Iterator[tuple[float, LinearLayer]]:
    """Yields (penalty, LinearLayer) for each penalty, from the largest, each started from the one before.

    Args:
      inputs: float (N, D). labels: int (N,). A class without examples gets a probability of at most 1 / N.
      weights: of the examples in the loss, float (N,) with mean 1; None: all are 1.

    Raises:
      UserError: all examples are of one class.
    """
    present = np.unique(labels)
    if len(present) < 2:
        raise UserError("all training clips are of one class", advice="check data.split and `skipped` of data/frames/frames.json")
    inputs = inputs.astype(np.float64, copy=False)
    mean, deviation = inputs.mean(0), np.maximum(inputs.std(0), _SMALLEST_DEVIATION)
    standard = (inputs - mean) / deviation
    threads = 1 if standard.size * classes < _SMALL else None
    axes = None
    if len(standard) < standard.shape[1]:
        # The penalty does not change under rotation, and the solution lies in the span of the examples.
        with threadpool_limits(threads):
            left, scale, axes = np.linalg.svd(standard, full_matrices=False)
        standard = left * scale
    model = LogisticRegression(tol=_TOLERANCE, max_iter=_STEPS, warm_start=True)
    unfinished = []
    for penalty in penalties:
        with threadpool_limits(threads), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.set_params(C=1 / (penalty * len(labels))).fit(standard, labels, weights)
        if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
            unfinished.append(f"{penalty:.1g}")
        kernel, bias = model.coef_.T, model.intercept_
        if len(present) == 2:  # scikit-learn has one logit for two classes
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.array([-bias[0], bias[0]]) / 2
        kernel = (kernel if axes is None else axes.T @ kernel) / deviation[:, np.newaxis]
        # The logits of an example sum to zero, so that the largest is not negative.
        layer = LinearLayer(np.zeros((inputs.shape[1], classes)), np.full(classes, -np.log(len(labels))))
        layer.kernel[:, present], layer.bias[present] = kernel, bias - mean @ kernel
        yield penalty, layer
    if unfinished:
        say(f"probe: not fitted to the last digit within {_STEPS:,} steps with the penalties {', '.join(unfinished)}")


def probe_inputs(probe: Probe, cached: CachedFeatures) -> CachedFeatures:
    """What the last layer receives of cached features, float32 (clips, views, D), with their labels."""
    flat = cached.flat()
    return CachedFeatures(probe.inputs(flat.features).reshape(*cached.labels.shape, -1), cached.labels, None)


def fit_probe(
    train: CachedFeatures, validation: CachedFeatures, classes: int, *, balanced: bool = False
) -> tuple[pd.DataFrame, int, LinearLayer]:
    """Fits a probe for each penalty, and chooses the one with the lowest validation log loss.

    Validation is as in evaluation: the mean probabilities of a clip's views.

    Args:
      train, validation: their features are the inputs of the last layer, as `probe_inputs` returns them.
      balanced: weight the training examples so that each class counts the same (`balance`); validation is never weighted.

    Returns:
      - The history: a row per penalty, with the columns HISTORY, where `epoch` counts the penalties, and `penalty`.
      - The number of the penalty that was chosen, counted from 1.
      - The last layer with it.
    """
    examples, labels = train.flat().features.astype(np.float64), train.labels.reshape(-1)
    held_out, held_out_labels = validation.features.astype(np.float64), validation.labels[:, 0]
    rows, layers = [], []
    started = time.monotonic()
    weights = class_weights(np.bincount(labels, minlength=classes))[labels] if balanced else None
    fits = fit(examples, labels, classes, weights=weights)
    for number, (penalty, layer) in enumerate(progress(fits, total=len(PENALTIES), describe="probe", unit="penalty"), start=1):
        of_train = layer.probabilities(examples)
        of_held_out = layer.probabilities(held_out).mean(1)
        now = time.monotonic()
        values = [number, *_loss_and_accuracy(of_train, labels), *_loss_and_accuracy(of_held_out, held_out_labels)]
        values += [np.nan, now - started, len(labels) / max(now - started, 1e-9)]
        rows.append(dict(zip(HISTORY, values, strict=True)) | {"penalty": penalty})
        layers.append(layer)
        started = now
    history = pd.DataFrame(rows)
    chosen = int(history["validation_loss"].argmin())
    return history, chosen + 1, layers[chosen]


def train_probe(
    training: Training, description: ClassifierDescription, embeddings: Path, out: Path, decide: Decide
) -> pd.DataFrame:
    """Fits a probe to the cached features, and writes the calibrated classifier to `out`. Returns the history."""
    classes = len(EmbedSummary.of(embeddings).classes)
    probe = open_probe(training.model, training.finetune, embeddings, classes, training.seed)
    train, validation = (probe_inputs(probe, read_features(embeddings, split)) for split in ("train", "validation"))
    history, best, layer = fit_probe(train, validation, classes, balanced=training.finetune.balance != "none")
    training.on_epoch(history)
    kernel, bias = (values.astype(np.float32) for values in layer)
    decision = decide(validation.features @ kernel + bias, validation.labels[:, 0])
    kernel, bias = (values / np.float32(decision.temperature) for values in (kernel, bias))
    write_classifier(out, description, best, decision, lambda part: probe.save(kernel, bias, embeddings, part))
    return history


def _loss_and_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    own = probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(own, np.finfo(np.float32).eps)).mean()
    return float(loss), float((probabilities.argmax(1) == labels).mean())
