"""A MoViNet's backbone, which embed freezes and saves with a new head."""

from pathlib import Path
from typing import Any

from pipeline.console import say
from pipeline.models.movinet.network.weights.checkpoints import write_with_new_head
from pipeline.models.movinet.network.weights.copying import write_checkpoint_state
from pipeline.models.movinet.network.weights.finding import find_weights, weights_digest
from pipeline.models.movinet.network.weights.values import backbone_values
from pipeline.models.movinet.settings import Settings
from pipeline.video.sampling import Sampling


class MovinetBackbone:
    """Implements `family.Backbone`. The features are one vector per view, the mean over space and time."""

    def __init__(self, model: Settings, num_classes: int, sampling: Sampling, seed: int):
        self._model, self._classes, self._sampling, self._seed = model, num_classes, sampling, seed
        self.shape = (model.variant.features,)
        self._weights = find_weights(model.weights, model.variant)
        self.digest = weights_digest(self._weights)
        self.made_with: dict[str, Any] = {"activation": model.activation, "dropout": model.variant.dropout}

    def save(self, folder: Path, views: int) -> None:
        """Writes the classifier with a new head, as the checkpoint `ckpt-1` in the published layout and as `saved_model`."""
        from pipeline.models.movinet.network.saved_head import read_head
        from pipeline.models.movinet.network.serving import Classifier, FrozenBackbone, save_classifier

        prefix, variant = folder / "ckpt-1", self._model.variant
        self._write_checkpoint(prefix)
        write_checkpoint_state(prefix)
        frozen = FrozenBackbone(backbone_values(prefix), variant, self._sampling)
        served = Classifier(frozen, read_head(prefix), self._sampling, activation=variant.activation, views=views)
        save_classifier(served, folder / "saved_model")

    def _write_checkpoint(self, prefix: Path) -> None:
        model, variant = self._model, self._model.variant
        if self._weights is not None:
            restored = write_with_new_head(self._weights, variant, self._classes, prefix)
            if restored is not None:
                say(f"restored all {restored} variables of {variant.id} from {model.weights}")
                return
        # Here, because it imports the Model Garden, which takes seconds.
        import tensorflow as tf

        from pipeline.models.movinet.network.classifier import initial_classifier

        classifier, _ = initial_classifier(variant, model.weights, self._classes, seed=self._seed)
        tf.train.Checkpoint(model=classifier).write(str(prefix))


def open_backbone(model: Settings, num_classes: int, sampling: Sampling, seed: int) -> MovinetBackbone:
    return MovinetBackbone(model, num_classes, sampling, seed)
