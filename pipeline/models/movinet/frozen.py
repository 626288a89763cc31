"""Opens a MoViNet that is not trained any more, in any engine. Imports TensorFlow only if it is the engine."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.engines.engine import Network, NetworkFiles, open_network
from pipeline.models.movinet.apply import predict
from pipeline.models.movinet.network.variants import VARIANTS, Variant
from pipeline.models.movinet.network.weights.values import backbone_values
from pipeline.models.movinet.settings import Settings
from pipeline.settings import EngineName
from pipeline.video.sampling import Sampling

if TYPE_CHECKING:
    from openvino import Model


def open_features(folder: Path, model: Settings, sampling: Sampling, engine: EngineName, threads: int | None = None) -> Network:
    """Implements `family.open_features`."""
    files = NetworkFiles(
        f"the backbone of {model.id}",
        folder / "saved_model",
        lambda loaded: loaded.backbone.features,
        partial(_graph, folder, model.variant, sampling.size),
    )
    return open_network(files, engine, sampling.count, threads)


def open_probabilities(classifier: Path, description: ClassifierDescription, engine: EngineName) -> Network:
    """Implements `family.open_probabilities`."""

    def graph(count: int) -> "Model":
        if description.activation is None or not (classifier / "head.npz").exists():
            raise UserError("its folder does not have the head by itself")
        return _graph(classifier, VARIANTS[description.model], description.size, count)

    files = NetworkFiles(
        str(classifier),
        classifier / "saved_model",
        lambda loaded: loaded.probabilities,
        graph,
        lambda features: predict(classifier, description, features, None),
    )
    return open_network(files, engine, description.count)


def _graph(folder: Path, variant: Variant, size: int, count: int) -> "Model":
    from pipeline.models.movinet.network.openvino_graph import build_graph

    if not (folder / "ckpt-1.index").exists():
        raise UserError("its folder has no checkpoint")
    return build_graph(backbone_values(folder / "ckpt-1"), variant, count, size)
