"""The published Kinetics-600 classifiers: stream variants run frame by frame, base variants on views."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.console import UserError
from pipeline.models.family import Pretrained
from pipeline.models.movinet.kinetics import kinetics_labels
from pipeline.models.movinet.network.build import build_backbone, build_classifier
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights.checkpoints import restore
from pipeline.models.movinet.network.weights.finding import find_weights
from pipeline.models.movinet.stream import pretrained_streaming


def open_pretrained(name: str, weights: str, labels: Path | None) -> Pretrained:
    """Implements `family.open_pretrained`."""
    if weights == "random":
        message = "model.weights = random: random weights know no classes"
        raise UserError(message, advice="name a tarball, folder, checkpoint prefix or URL")
    variant, classes = VARIANTS[name], kinetics_labels(labels)
    source = "published weights" if weights == "pretrained" else weights
    about = f"{name} ({source}, {len(classes)} classes of Kinetics-600)"
    if variant.stream:
        stream = pretrained_streaming(name, weights, classes)
        return Pretrained(about, classes, variant.fps, variant.resolution, stream, None)
    network = build_classifier(variant, build_backbone(variant))
    restore(network, find_weights(weights, variant), weights)

    @tf.function(autograph=False, reduce_retracing=True)
    def compute(views: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(network({"image": views}, training=False))

    def probabilities(views: np.ndarray) -> np.ndarray:
        return compute(tf.constant(views)).numpy()

    streaming_advice = f"--pretrained {variant.family}_stream"
    return Pretrained(about, classes, variant.fps, variant.resolution, None, probabilities, streaming_advice)
