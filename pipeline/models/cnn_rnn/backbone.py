"""A CNN-RNN's frozen image network, which embed saves."""

from pathlib import Path
from typing import Any

from pipeline.models.cnn_rnn.network.image_features import (
    ImageFeatures,
    build_image_network,
    save_image_features,
    values_digest,
)
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.video.sampling import Sampling


class ImageBackbone:
    """Implements `family.Backbone`. The features are one vector per frame."""

    def __init__(self, model: Settings, sampling: Sampling, seed: int):
        built = build_image_network(model.network, model.weights, sampling.size, seed)
        self._module = ImageFeatures(built, model.image_network, sampling.size)
        self.shape = (sampling.count, model.image_network.features)
        self.digest = None if model.weights == "random" else values_digest(built)
        self.made_with: dict[str, Any] = {}

    def save(self, folder: Path, views: int) -> None:
        """Writes the image network, which `save_top` copies into every classifier."""
        save_image_features(self._module, folder / "image_network")


def open_backbone(model: Settings, num_classes: int, sampling: Sampling, seed: int) -> ImageBackbone:
    return ImageBackbone(model, sampling, seed)
