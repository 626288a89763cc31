"""Trains what is on a frozen backbone: fits a probe, without TensorFlow, or trains a head."""

from pathlib import Path

import pandas as pd

from pipeline.artifacts import ClassifierDescription
from pipeline.training.contract import Decide, Training, check_frozen


def train_frozen(
    training: Training, description: ClassifierDescription, embeddings: Path, out: Path, decide: Decide
) -> pd.DataFrame:
    """Trains on the cached features, and writes the calibrated classifier to `out`. Returns the history.

    Raises:
      UserError: the settings do not fit a frozen backbone, or the loss is not finite.
    """
    check_frozen(training.finetune)
    if training.finetune.trainable == "probe":
        from pipeline.training.probe import train_probe

        return train_probe(training, description, embeddings, out, decide)
    from pipeline.training.runtime import disable_grappler_on_cpu, enable_determinism
    from pipeline.training.top import train_top

    enable_determinism()
    disable_grappler_on_cpu()
    return train_top(training, description, embeddings, out, decide)
