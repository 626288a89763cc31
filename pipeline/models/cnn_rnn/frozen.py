"""Opens a CNN-RNN that is not trained any more, in any engine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.engines.engine import Network, NetworkFiles, open_network
from pipeline.models.cnn_rnn.apply import TOP_FILE, predict
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.settings import EngineName
from pipeline.video.sampling import Sampling

if TYPE_CHECKING:
    from openvino import Model


def open_features(folder: Path, model: Settings, sampling: Sampling, engine: EngineName, threads: int | None = None) -> Network:
    """Implements `family.open_features`."""
    saved_model = folder / "image_network"
    files = NetworkFiles(model.network, saved_model, _one_view_at_a_time, partial(_graph, saved_model, sampling.size))
    return open_network(files, engine, sampling.count, threads)


def open_probabilities(classifier: Path, description: ClassifierDescription, engine: EngineName) -> Network:
    """Implements `family.open_probabilities`."""

    def top(features: np.ndarray) -> np.ndarray:
        return predict(classifier, description, features, np.ones(features.shape[:2], bool))

    def graph(count: int) -> "Model":
        if not (classifier / TOP_FILE).exists():
            raise UserError("its folder has no weights of the recurrent top")
        return _graph(saved_model, description.size, count)

    saved_model = classifier / "saved_model"
    files = NetworkFiles(str(classifier), saved_model, lambda loaded: loaded.probabilities, graph, top)
    return open_network(files, engine, description.count)


def _one_view_at_a_time(loaded) -> Callable:
    # Larger batches are not faster on a CPU, and the feature maps of many frames take gigabytes.
    return lambda views: np.concatenate([loaded.features(view[np.newaxis]).numpy() for view in views])


def _graph(saved_model: Path, size: int, count: int) -> "Model":
    from pipeline.engines.conversion import converted_graph

    graph = converted_graph(saved_model, lambda loaded: loaded.features)
    graph.reshape({0: [1, count, size, size, 3]})
    return graph
