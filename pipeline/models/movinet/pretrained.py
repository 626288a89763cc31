"""The published Kinetics-600 classifiers: stream variants run frame by frame, base variants on views.

TensorFlow is imported only if it is the engine.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.console import UserError
from pipeline.engines.engine import StreamGraph, open_in_engine
from pipeline.models.family import Pretrained, Stream
from pipeline.models.movinet.apply import head_probabilities
from pipeline.models.movinet.frame_graph import graph_of_values
from pipeline.models.movinet.kinetics import kinetics_labels
from pipeline.models.movinet.network.saved_head import head_values
from pipeline.models.movinet.network.variants import VARIANTS, Variant
from pipeline.models.movinet.network.weights.finding import find_weights
from pipeline.models.movinet.network.weights.values import published_values, values_of_backbone

if TYPE_CHECKING:
    from openvino import Model


def open_pretrained(name: str, weights: str, labels: Path | None) -> Pretrained:
    """Implements `family.open_pretrained`."""
    if weights == "random":
        message = "model.weights = random: random weights know no classes"
        raise UserError(message, advice="name a tarball, folder, checkpoint prefix or URL")
    variant, classes = VARIANTS[name], kinetics_labels(labels)
    source = "published weights" if weights == "pretrained" else weights
    about = f"{name} ({source}, {len(classes)} classes of Kinetics-600)"
    prefix = find_weights(weights, variant)
    known = {"about": about, "classes": classes, "fps": variant.fps, "size": variant.resolution}
    if variant.stream:
        stream, graph = partial(_stream, name, weights, classes), partial(_frame_graph, prefix, variant)
        return Pretrained(**known, stream=stream, graph=graph)
    openers = {
        "tensorflow": partial(_network_in_tensorflow, prefix, variant, weights),
        "openvino": partial(_network_in_openvino, prefix, variant),
    }
    streaming_advice = f"--pretrained {variant.family}_stream"
    return Pretrained(**known, network=partial(open_in_engine, about, openers), streaming_advice=streaming_advice)


def _stream(name: str, weights: str, classes: list[str]) -> Stream:
    from pipeline.models.movinet.stream import pretrained_streaming

    return pretrained_streaming(name, weights, classes)


def _frame_graph(prefix: Path, variant: Variant) -> StreamGraph:
    values = published_values(prefix, variant)
    return graph_of_values(values_of_backbone(values), head_values(values), variant, variant.resolution)


def _network_in_tensorflow(prefix: Path, variant: Variant, weights: str) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    from pipeline.models.movinet.network.build import build_backbone, build_classifier
    from pipeline.models.movinet.network.weights.checkpoints import restore

    network = build_classifier(variant, build_backbone(variant))
    restore(network, prefix, weights)

    @tf.function(autograph=False, reduce_retracing=True)
    def compute(views: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(network({"image": views}, training=False))

    # View by view: a larger batch is no faster on a CPU, and feature maps of ten views of 50 frames take gigabytes.
    return lambda views: np.concatenate([compute(tf.constant(view[np.newaxis])).numpy() for view in views])


def _network_in_openvino(prefix: Path, variant: Variant) -> Callable[[np.ndarray], np.ndarray]:
    from pipeline.engines.openvino_network import OpenvinoNetwork
    from pipeline.models.movinet.network.openvino_graph import build_graph

    values = published_values(prefix, variant)
    backbone, head = values_of_backbone(values), head_values(values)

    def graph(count: int) -> "Model":
        return build_graph(backbone, variant, count, variant.resolution)

    return OpenvinoNetwork(graph, lambda features: head_probabilities(features, head, variant.activation))
