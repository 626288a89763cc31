"""A stream MoViNet as a graph of one frame for OpenVINO. Does not import TensorFlow."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription
from pipeline.engines.engine import StreamGraph
from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.saved_head import read_head
from pipeline.models.movinet.network.variants import VARIANTS, Variant
from pipeline.models.movinet.network.weights.values import backbone_values
from pipeline.models.movinet.settings import check_stream


def frame_graph(classifier: Path, description: ClassifierDescription) -> Callable[[], StreamGraph]:
    """Implements `family.frame_graph`."""
    check_stream(classifier, description)
    return partial(graph_of_checkpoint, classifier / "ckpt-1", VARIANTS[description.model], description.size)


def graph_of_checkpoint(prefix: Path, variant: Variant, size: int) -> StreamGraph:
    """The graph of the classifier in the checkpoint `prefix`. size: pixels of a side of the frames."""
    return graph_of_values(backbone_values(prefix), read_head(prefix), variant, size)


def graph_of_values(backbone: Mapping[str, np.ndarray], head: HeadValues, variant: Variant, size: int) -> StreamGraph:
    """The graph of a classifier. backbone: see `backbone_values`. size: pixels of a side of the frames."""
    from pipeline.models.movinet.network.openvino_graph import build_frame_graph

    return StreamGraph(*build_frame_graph(backbone, head, variant, size))
