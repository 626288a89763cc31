"""A MoViNet's frozen backbone, which embed runs."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from pipeline.models.movinet.network.classifier import initial_classifier
from pipeline.models.movinet.network.head import read_head
from pipeline.models.movinet.network.serving import Classifier, FrozenBackbone, save_backbone, save_classifier
from pipeline.models.movinet.network.weights.checkpoints import weights_digest, write_checkpoint_state
from pipeline.models.movinet.settings import Settings
from pipeline.video.sampling import Sampling


class MovinetBackbone:
    """Implements `family.Backbone`. The features are one vector per view, the mean over space and time."""

    def __init__(self, model: Settings, num_classes: int, sampling: Sampling, seed: int):
        self._variant, self._sampling = model.variant, sampling
        self._classifier, prefix = initial_classifier(
            model.variant, model.weights, num_classes, seed=seed, convolutions=model.convolutions
        )
        self._frozen = FrozenBackbone(self._classifier.backbone, model.variant.features, sampling)
        self.shape = (model.variant.features,)
        self.digest = weights_digest(prefix)
        self.made_with: dict[str, Any] = {"activation": model.activation, "dropout": model.variant.dropout}

    def features(self, views: tf.Tensor) -> tf.Tensor:
        return self._frozen.features(views)

    def save(self, folder: Path) -> None:
        save_backbone(self._frozen, folder)

    def save_initial(self, folder: Path, views: int) -> None:
        """Writes the classifier with a new head, as the checkpoint `ckpt-1` in the published layout and as `saved_model`."""
        prefix = folder / "ckpt-1"
        tf.train.Checkpoint(model=self._classifier).write(str(prefix))
        write_checkpoint_state(prefix)
        served = Classifier(self._frozen, read_head(prefix), self._sampling, activation=self._variant.activation, views=views)
        save_classifier(served, folder / "saved_model")


def open_backbone(model: Settings, num_classes: int, sampling: Sampling, seed: int) -> MovinetBackbone:
    return MovinetBackbone(model, num_classes, sampling, seed)
