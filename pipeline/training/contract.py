"""What a training receives and returns, without TensorFlow, which a probe does not need."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.artifacts import Decision
from pipeline.console import UserError
from pipeline.models.family import ModelSettings
from pipeline.settings import Finetune

OnEpoch = Callable[[pd.DataFrame], None]  # receives the history so far

# logits float32 (clips, views, classes) and labels int (clips,) of the validation clips -> the decision for the classifier
Decide = Callable[[np.ndarray, np.ndarray], Decision]

HISTORY = [
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "examples_per_second",
]


@dataclass(frozen=True)
class Training:
    """Settings of a training, the same for a top and for a network.

    Attributes:
      seed: of order, augmentation and dropout.
      folder: scratch folder. If it holds a checkpoint, the training resumes from it.
      checkpoint_minutes: time between checkpoints, and so the most work that a killed training loses.
      on_epoch: called with the history so far after each epoch, and when a training resumes.
    """

    model: ModelSettings
    finetune: Finetune
    seed: int
    folder: Path
    checkpoint_minutes: float = 1.0
    on_epoch: OnEpoch = lambda history: None


def check_frozen(finetune: Finetune) -> None:
    """Raises UserError where a top on cached features cannot be trained with these settings."""
    if finetune.distribute != "none":
        message = f"finetune.distribute = {finetune.distribute}, but a head trains in seconds on one device"
        raise UserError(message, advice="set finetune.distribute=none")
    if finetune.precision != "float32":
        message = f"finetune.precision = {finetune.precision}, but a {finetune.trainable} on cached features trains in float32"
        raise UserError(message, advice="set finetune.precision=float32")
