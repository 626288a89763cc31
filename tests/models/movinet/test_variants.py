"""Each variant at full size: it can be built, restored from a checkpoint in the published layout, trained and evaluated."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from pipeline.engines.openvino_network import OpenvinoNetwork
from pipeline.models.movinet.network import openvino_graph
from pipeline.models.movinet.network.activations import hard_sigmoid
from pipeline.models.movinet.network.build import (
    batch_norm_layers,
    build_backbone,
    build_classifier,
    freeze,
    set_rezero,
)
from pipeline.models.movinet.network.head import build_head
from pipeline.models.movinet.network.saved_head import head_keys, read_head
from pipeline.models.movinet.network.serving import FrozenBackbone
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS, Variant
from pipeline.models.movinet.network.weights.bundle import VALUE, read_shapes
from pipeline.models.movinet.network.weights.checkpoints import restore, variable_keys
from pipeline.models.movinet.network.weights.layouts import LAYOUTS, contents_of, layout_of
from pipeline.models.movinet.network.weights.values import backbone_values
from pipeline.video.sampling import Sampling
from tests.models.movinet.small import small_variants

# Kondratyuk et al. 2021 and the Model Garden's results tables, Kinetics-600: top-1, top-5, frames, resolution.
PUBLISHED = {
    "a0": (72.28, 90.92, 50, 172),
    "a1": (76.69, 93.40, 50, 172),
    "a2": (78.62, 94.17, 50, 224),
    "a3": (81.79, 95.67, 120, 256),
    "a4": (83.48, 96.16, 80, 290),
    "a5": (84.27, 96.39, 120, 320),
    "a0_stream": (72.05, 90.63, 50, 172),
    "a1_stream": (76.45, 93.25, 50, 172),
    "a2_stream": (78.40, 94.05, 50, 224),
    "a3_stream": (80.09, 94.84, 120, 256),
    "a4_stream": (81.49, 95.66, 80, 290),
    "a5_stream": (82.37, 95.79, 120, 320),
}


def test_the_table_has_the_published_figures():
    stated = {name: (v.top1, v.top5, v.frames, v.resolution) for name, v in VARIANTS.items() if v.top1 is not None}
    assert stated == PUBLISHED
    for variant in VARIANTS.values():
        assert variant.frames == 10 * variant.fps
        assert variant.stream == variant.builder["causal"]


def test_stream_networks_have_the_activations_of_the_published_ones():
    """MoViNet-pytorch, whose tests compare its logits with those of TensorFlow Hub's models, has these activations."""
    x = tf.linspace(-4.0, 4.0, 33)
    np.testing.assert_allclose(hard_sigmoid(x), np.clip(0.2 * x.numpy() + 0.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(hard_sigmoid(x), tf_keras.activations.hard_sigmoid(x), atol=1e-6)
    variant = VARIANTS["a0_stream"]
    with small_variants():
        backbone = build_backbone(variant)
    gates = {layer._attention._se_expand._activation for layer in backbone.layers if layer.name.startswith("block")}
    assert gates == {hard_sigmoid}
    classifier = build_classifier(variant, backbone)
    assert classifier.layers[-1]._head._activation == "swish"
    assert backbone.get_layer("head")._project._activation == "hard_swish"


def randomise(model: tf_keras.Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(rng.uniform(0.05, 0.15, variable.shape).astype(np.float32))


def scatter(classifier: tf_keras.Model, backbone: tf_keras.Model, stddev: float) -> None:
    """Random kernels, small enough that no activation saturates, and residual branches that have an effect."""
    tf_keras.utils.set_random_seed(1)
    for variable in classifier.trainable_variables:
        if variable.shape.rank > 1:
            variable.assign(tf.random.normal(variable.shape, stddev=stddev))
    set_rezero(backbone, 0.5)


def check_engines(backbone: tf_keras.Model, prefix: Path, variant: Variant) -> None:
    """Checks that every engine gives the backbone's features. With 5 frames every temporal tap counts."""
    values = backbone_values(prefix)
    for shape in ([2, 5, 48, 48, 3], [1, 2, 36, 36, 3]):
        views = tf.random.uniform(shape, seed=4)
        expected = tf.reshape(backbone({"image": views}, training=False)[0]["head"], [shape[0], -1]).numpy()
        by_openvino = []
        for large in (0, 2**30):  # bytes of frames that are convolved one by one
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(openvino_graph, "LARGE_FRAME", large)
                graph = openvino_graph.build_graph(values, variant, shape[1], shape[2])
            by_openvino.append(OpenvinoNetwork(lambda count, graph=graph: graph, None, shape[1], threads=1)(views.numpy()))
        by_tensorflow = FrozenBackbone(values, variant, Sampling(shape[1], shape[2])).features(views).numpy()
        for found in (*by_openvino, by_tensorflow):
            assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_variant_can_be_built_and_restored(name, tmp_path):
    variant = VARIANTS[name]
    backbone = build_backbone(variant)
    classifier = build_classifier(variant, backbone)
    assert backbone.output[0]["head"].shape[-1] == variant.features
    scatter(classifier, backbone, 0.05)
    tf.train.Checkpoint(model=classifier).write(str(tmp_path / "mine"))
    check_engines(backbone, tmp_path / "mine", variant)
    randomise(classifier, seed=1)
    saved = classifier.get_weights()
    prefix = tf.train.Checkpoint(model=classifier).save(str(tmp_path / "ckpt"))
    blocks = sum(layer.name.startswith("block") for layer in backbone.layers)
    shapes = read_shapes(Path(f"{prefix}.index").read_bytes())
    assert layout_of(contents_of(shapes), blocks) == LAYOUTS[name]
    # The names of the variables are mapped to the same keys, in any order.
    keys = {f"variables/{number}{VALUE}": variable for number, variable in enumerate(classifier.variables)}
    named = contents_of(
        {key: tuple(variable.shape) for key, variable in keys.items()},
        {key: variable.name for key, variable in keys.items()},
    )
    expected = {key: id(variable) for key, variable in variable_keys(model=classifier).items()}
    assert {key: id(keys[own]) for key, own in named.variables.items()} == expected
    randomise(classifier, seed=2)
    assert restore(classifier, prefix, name) == len(saved)
    for one, other in zip(saved, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["a0", "a0_stream", "a0_stream_relu6", "a3_stream"])
def test_every_kind_of_network_trains(name, tmp_path):
    """Base, stream, without squeeze-and-excitation, and with positional encodings."""
    variant = VARIANTS[name]
    with small_variants():
        backbone = build_backbone(variant)
    classifier = build_classifier(variant, backbone, dropout=0.0)
    scatter(classifier, backbone, 0.1)
    freeze(backbone, trainable_blocks=None, batch_norm=False)
    x = tf.random.uniform([1, 2, 48, 48, 3], seed=3)
    with tf.GradientTape() as tape:
        logits = classifier({"image": x}, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1], logits=logits))
    variables = classifier.trainable_variables
    gradients = tape.gradient(loss, variables)
    assert logits.shape == (1, KINETICS_CLASSES)
    unused = [variable.name for variable, gradient in zip(variables, gradients, strict=True) if gradient is None]
    assert unused == []
    # A small step along the negative gradient must lower the loss by its length times the gradient's squared norm.
    norm = tf.linalg.global_norm(gradients)
    rate = 0.001 * loss / norm**2
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(rate * gradient)
    after = classifier({"image": x}, training=False)
    lower = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[1], logits=after)[0]
    assert 0.9 < float((loss - lower) / (rate * norm**2)) < 1.1
    features = backbone({"image": x}, training=False)[0]["head"]
    assert features.shape == (1, 1, 1, 1, variant.features)

    # The Keras head on the backbone's features equals the classifier.
    prefix = tf.train.Checkpoint(model=classifier).write(str(tmp_path / "mine"))
    values = read_head(tmp_path / "mine")
    head = build_head(variant.features, KINETICS_CLASSES, activation=variant.activation, dropout=0.0, seed=0)
    head.set_weights(list(vars(values).values()))
    flat = tf.reshape(features, [1, -1])
    np.testing.assert_allclose(head(flat), after, rtol=1e-4, atol=1e-5)
    assert set(head_keys(tf.train.load_checkpoint(prefix).get_variable_to_shape_map())) == set(vars(values))
    with small_variants():
        check_engines(backbone, tmp_path / "mine", variant)


def test_freezing_keeps_the_last_blocks_trainable():
    with small_variants():
        backbone = build_backbone(VARIANTS["a0_stream"])
    total = len(backbone.trainable_variables)
    freeze(backbone, trainable_blocks=2, batch_norm=False)
    names = {variable.name.split("/")[0] for variable in backbone.trainable_variables}
    assert names == {"block2_layer0", "block2_layer1", "head"}
    assert not any(layer.trainable for layer in batch_norm_layers(backbone))
    freeze(backbone, trainable_blocks=None, batch_norm=True)
    assert len(backbone.trainable_variables) == total
    with pytest.raises(ValueError, match="has 4 blocks"):
        freeze(backbone, trainable_blocks=99, batch_norm=False)
