"""MoViNets of a few layers and channels, which build and save in a second or two. Variables are named as in all variants."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.movinet.modeling import movinet, movinet_model

from pipeline.models.movinet.network import folded
from pipeline.models.movinet.network.variants import HEAD_FILTERS, VARIANTS

WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


@tf.autograph.experimental.do_not_convert
def small_movinet(monkeypatch, variant: str = "a0", classes: int = 600) -> movinet_model.MovinetClassifier:
    """A small network built with the arguments of `variant`. All its values are random."""
    specs = (
        movinet.StemSpec(filters=4, kernel_size=(1, 3, 3), strides=(1, 2, 2)),
        movinet.MovinetBlockSpec(
            base_filters=4, expand_filters=(8, 8), kernel_sizes=((1, 3, 3), (3, 3, 3)), strides=((1, 2, 2), (1, 1, 1))
        ),
        movinet.HeadSpec(project_filters=8, head_filters=16),
    )
    monkeypatch.setitem(movinet.BLOCK_SPECS, "small", specs)
    backbone = movinet.Movinet(model_id="small", **VARIANTS[variant].builder)
    model = movinet_model.MovinetClassifier(backbone, num_classes=classes, activation="swish", dropout_rate=0.0)
    rng = np.random.default_rng(classes)
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape).astype(np.float32))
    return model


@contextmanager
def small_variants() -> Iterator[None]:
    """Makes every variant small where this process builds it: four layers in three blocks, and few channels.

    Convolutions, activations, states, features and head are the variant's own: each kind of layer is there, once or twice.
    """
    once, halved = (1, 1, 1), (1, 2, 2)
    with pytest.MonkeyPatch.context() as patch:
        for variant in VARIANTS.values():
            specs = (
                movinet.StemSpec(filters=8, kernel_size=(1, 3, 3), strides=halved),
                movinet.MovinetBlockSpec(base_filters=8, expand_filters=(16,), kernel_sizes=((1, 5, 5),), strides=(halved,)),
                movinet.MovinetBlockSpec(base_filters=16, expand_filters=(24,), kernel_sizes=((3, 3, 3),), strides=(halved,)),
                movinet.MovinetBlockSpec(
                    base_filters=24, expand_filters=(48, 32), kernel_sizes=((5, 3, 3), (3, 3, 3)), strides=(halved, once)
                ),
                movinet.HeadSpec(project_filters=variant.features, head_filters=HEAD_FILTERS),
            )
            patch.setitem(movinet.BLOCK_SPECS, variant.family, specs)
            patch.setitem(folded._GROUPS, variant.family, (1, 1, 2))
        yield


class HubLayer(tf_keras.layers.Layer):
    """Wraps a loaded SavedModel like tensorflow_hub.KerasLayer 0.16, which adds the variables to its own under their names."""

    def __init__(self, loaded):
        super().__init__()
        self._func = loaded
        for variable in loaded.variables:
            self.add_weight(
                name=variable.name,
                shape=variable.shape,
                dtype=variable.dtype,
                trainable=True,
                getter=lambda *arguments, variable=variable, **options: variable,
            )

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self._func({"image": images}, training=False)


def small_model(units: int = 3) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(units)
    return tf_keras.Sequential([tf_keras.layers.InputLayer([4]), tf_keras.layers.Dense(units), tf_keras.layers.Dense(2)])


def saved(folder: Path, model: tf_keras.Model) -> Path:
    tf.train.Checkpoint(model=model).save(str(folder / "ckpt"))
    return folder


def tarball(path: Path, folder: Path, *, name: str = "weights") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=name)
    return path
