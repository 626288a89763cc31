"""Builds the classifier from which training starts: a pretrained or random backbone with a new last layer."""

from pathlib import Path

import tf_keras
from official.projects.movinet.modeling.movinet_model import MovinetClassifier

from pipeline.console import say
from pipeline.models.movinet.network.build import KERAS_BATCH_NORM_MOMENTUM, build_backbone, build_classifier, set_rezero
from pipeline.models.movinet.network.variants import Variant
from pipeline.models.movinet.network.weights.checkpoints import restore
from pipeline.models.movinet.network.weights.finding import find_weights


def initial_classifier(
    variant: Variant,
    weights: str,
    num_classes: int,
    *,
    seed: int,
    convolutions: str = "auto",
    reuse_projection: bool = True,
    stochastic_depth: float = 0.0,
    batch_norm_momentum: float = KERAS_BATCH_NORM_MOMENTUM,
    dropout: float | None = None,
    rezero: float | None = None,
) -> tuple[MovinetClassifier, Path | None]:
    """Builds and restores a classifier; returns it and the prefix of its checkpoint (None if the weights are random).

    Args:
      weights: as `model.weights`.
      seed: of random weights: those of the new head, or all.
      reuse_projection: initialize the head's first layer from the checkpoint.
      rezero: initial residual scales of a random backbone; None keeps the Model Garden's 0.

    Raises:
      UserError: the weights are not found, cannot be fetched, or do not fit completely.
    """
    prefix = find_weights(weights, variant)
    tf_keras.utils.set_random_seed(seed)
    backbone = build_backbone(
        variant,
        stochastic_depth=stochastic_depth,
        batch_norm_momentum=batch_norm_momentum,
        convolutions=convolutions,
    )
    classifier = build_classifier(variant, backbone, num_classes, dropout=dropout, convolutions=convolutions)
    if prefix is None:
        if rezero is not None:
            set_rezero(backbone, rezero)
        return classifier, None
    pretrained = build_classifier(variant, backbone)
    say(f"restored all {restore(pretrained, prefix, weights)} variables of {variant.id} from {weights}")
    if reuse_projection:
        projection = pretrained.layers[-1].get_weights()[:2]
        classifier.layers[-1].set_weights(projection + classifier.layers[-1].get_weights()[2:])
    return classifier, prefix
