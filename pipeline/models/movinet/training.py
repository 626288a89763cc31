"""Builds a MoViNet to train its last blocks or the whole network, and saves it."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models.movinet.apply import save_head
from pipeline.models.movinet.network.build import build_backbone, build_classifier, freeze
from pipeline.models.movinet.network.classifier import initial_classifier
from pipeline.models.movinet.network.head import head_values
from pipeline.models.movinet.network.saved_head import head_keys, read_head
from pipeline.models.movinet.network.serving import Classifier, FrozenBackbone, save_classifier
from pipeline.models.movinet.network.weights.checkpoints import variable_keys
from pipeline.models.movinet.network.weights.copying import count_parameters, write_checkpoint_state
from pipeline.models.movinet.network.weights.finding import find_weights, weights_digest
from pipeline.models.movinet.network.weights.values import backbone_values
from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune
from pipeline.video.sampling import Sampling


def initial_weights_digest(model: Settings) -> str | None:
    return weights_digest(find_weights(model.weights, model.variant))


def build_network(model: Settings, finetune: Finetune, num_classes: int, seed: int) -> tf_keras.Model:
    classifier, _ = initial_classifier(
        model.variant,
        model.weights,
        num_classes,
        seed=seed,
        convolutions=model.convolutions,
        reuse_projection=finetune.reuse_projection,
        stochastic_depth=finetune.stochastic_depth,
        batch_norm_momentum=finetune.batch_norm_momentum,
        dropout=finetune.dropout,
        rezero=finetune.rezero,
    )
    blocks = finetune.blocks if finetune.trainable == "last_blocks" else None
    train_batch_norm = finetune.batch_norm == "trained" or (finetune.batch_norm == "auto" and model.weights == "random")
    try:
        freeze(classifier.backbone, trainable_blocks=blocks, batch_norm=train_batch_norm)
    except ValueError as error:
        raise UserError(str(error)) from None
    return classifier


def set_top(model: Settings, network: tf_keras.Model, top: tf_keras.Model) -> None:
    variables = variable_keys(model=network)
    values = head_values(top)
    for field, key in head_keys(variables).items():
        variables[key].assign(np.reshape(getattr(values, field), variables[key].shape))


def layer_depths(model: Settings, network: tf_keras.Model) -> list[int]:
    """Groups: the classifier's head (0); the backbone's head and last group of blocks (1); the group before it; ...; the stem."""
    backbone = network.backbone
    groups = [layer.name.split("_")[0] for layer in backbone.layers if layer.name.startswith("block")]
    order = sorted(set(groups), key=lambda name: int(name.removeprefix("block")), reverse=True)
    depth_of = {name: depth for depth, name in enumerate(order, start=1)}
    depths = {}
    for layer in backbone.layers:
        depth = depth_of.get(layer.name.split("_")[0], 1 if layer.name == "head" else len(order) + 1)
        depths |= {id(variable): depth for variable in layer.variables}
    return [depths.get(id(variable), 0) for variable in network.trainable_variables]


def plain_network(model: Settings, network: tf_keras.Model, num_classes: int, *, portable: bool) -> tf_keras.Model:
    backbone = network.backbone if portable else build_backbone(model.variant, convolutions=model.convolutions)
    plain = build_classifier(model.variant, backbone, num_classes, convolutions=model.convolutions)
    trained = variable_keys(model=network)
    for key, variable in variable_keys(model=plain).items():
        variable.assign(trained[key])
    return plain


def save_network(network: tf_keras.Model, folder: Path, description: ClassifierDescription) -> int:
    """Implements `family.save_network`: writes the checkpoint (published layout, float32), `head.npz` and the SavedModel."""
    variant = Settings.model_validate(description.settings).variant
    prefix = folder / "ckpt-1"
    tf.train.Checkpoint(model=network).write(str(prefix))
    write_checkpoint_state(prefix)
    head = read_head(prefix)
    save_head(head, folder / "head.npz")
    sampling = Sampling.of(description)
    frozen = FrozenBackbone(backbone_values(prefix), variant, sampling)
    served = Classifier(frozen, head, sampling, activation=variant.activation, views=description.views)
    save_classifier(served, folder / "saved_model")
    return count_parameters(prefix)
