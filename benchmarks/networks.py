"""Seconds of a network's forward pass and of a whole training step, with either kind of convolutions.

Both kinds start from the same seed, so they are the same network, and their logits on the same clips can be compared.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.timing import seconds_a_call
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS
from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras

SEED = 1
REZERO = 0.5  # with the Model Garden's 0, a random network's logits would not depend on most of it


@dataclass(frozen=True)
class Load:
    """A network and the clips it is given: float32 (batch, frames, size, size, 3)."""

    model: str
    batch: int
    frames: int
    size: int

    def __str__(self) -> str:
        return f"{self.model}, {self.batch} x {self.frames} x {self.size} px"

    @property
    def gflop(self) -> float:
        """Of a forward pass, from the estimate at the network's own size by area: about a tenth above an exact count."""
        cost = Settings.of_id(self.model).cost(self.frames)
        return cost.gflop * self.batch * self.frames * (self.size / cost.pixels) ** 2

    def clips(self) -> "tf.Tensor":
        import tensorflow as tf

        shape = (self.batch, self.frames, self.size, self.size, 3)
        return tf.constant(np.random.default_rng(SEED).random(shape, np.float32))


def restore_inference_optimizer() -> None:
    """Undoes what finetune sets for its whole process: in the pipeline each stage has a process of its own."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@functools.lru_cache(maxsize=1)
def build_random(model: str, convolutions: str) -> "tf_keras.Model":
    """A network with random weights, the same for both kinds of convolutions; one is kept."""
    import tf_keras

    from pipeline.models.movinet.network.build import build_backbone, build_classifier, set_rezero

    variant = VARIANTS[model]
    tf_keras.utils.set_random_seed(SEED)
    backbone = build_backbone(variant, convolutions=convolutions)
    set_rezero(backbone, REZERO)
    return build_classifier(variant, backbone, convolutions=convolutions)


@functools.lru_cache(maxsize=1)
def forward_pass(load: Load, convolutions: str) -> Callable[[], np.ndarray]:
    import tensorflow as tf

    restore_inference_optimizer()
    model, clips = build_random(load.model, convolutions), load.clips()
    call = tf.function(lambda batch: model({"image": batch}, training=False))
    return lambda: call(clips).numpy()


@functools.lru_cache(maxsize=1)
def _frozen(load: Load) -> tuple[Callable, Callable]:
    """The backbone of `build_random` as embed runs it: (in TensorFlow, in OpenVINO), each views -> features."""
    import tensorflow as tf

    from pipeline.engines.openvino_network import OpenvinoNetwork
    from pipeline.models.movinet.network.openvino_graph import build_graph
    from pipeline.models.movinet.network.serving import FrozenBackbone
    from pipeline.models.movinet.network.weights.values import backbone_values
    from pipeline.video.sampling import Sampling

    restore_inference_optimizer()
    variant, classifier = VARIANTS[load.model], build_random(load.model, "fast")
    with tempfile.TemporaryDirectory() as folder:
        values = backbone_values(Path(tf.train.Checkpoint(model=classifier).write(f"{folder}/ckpt-1")))
    network = OpenvinoNetwork(lambda count: build_graph(values, variant, count, load.size), None, load.frames, None)
    return FrozenBackbone(values, variant, Sampling(load.frames, load.size)).features, network


def frozen_network(load: Load) -> Callable[[np.ndarray], np.ndarray]:
    """The backbone in OpenVINO, as embed runs it: views -> features."""
    return _frozen(load)[1]


def frozen_forward(load: Load, engine: str) -> float:
    """Seconds of a forward pass of the frozen backbone. engine: tensorflow or openvino."""
    run, clips = _frozen(load)[engine == "openvino"], load.clips().numpy()
    return seconds_a_call(lambda: np.asarray(run(clips)))


def engine_difference(load: Load) -> float:
    """The largest difference between the engines' features, of the largest feature."""
    first, second = (np.asarray(run(load.clips().numpy())) for run in _frozen(load))
    return float(np.abs(first - second).max() / np.abs(first).max())


@functools.lru_cache(maxsize=1)
def training_step(load: Load, convolutions: str, settings: Finetune | None, backbone: bool = True) -> Callable[[], object]:
    """A training step of the whole network, or of its head. settings: of our optimizer; None: the plain way's Adam."""
    import tensorflow as tf
    import tf_keras

    from pipeline.training.optimizer import build_optimizer
    from pipeline.training.runtime import disable_grappler_on_cpu, keep_memory_on_cpu

    labels = tf.range(load.batch)
    if settings is None:
        optimizer = tf_keras.optimizers.Adam()
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        keep_memory_on_cpu()
        disable_grappler_on_cpu()
        optimizer = build_optimizer(settings, steps=1000)
        loss = tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)
        labels = tf.one_hot(labels, KINETICS_CLASSES)
    model, clips = build_random(load.model, convolutions), load.clips()
    model.trainable = True
    model.backbone.trainable = backbone
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return lambda: model.train_on_batch({"image": clips}, labels)


def logits(load: Load, convolutions: str) -> np.ndarray:
    return forward_pass(load, convolutions)()


def forward(load: Load, convolutions: str) -> float:
    """Seconds of a forward pass. A process's first call builds and compiles."""
    return seconds_a_call(forward_pass(load, convolutions))


def step(load: Load, convolutions: str, settings: Finetune | None) -> float:
    """Seconds of a training step: forward, backward and update. A process's first call builds and compiles."""
    return seconds_a_call(training_step(load, convolutions, settings))


def fed_step(load: Load, settings: Finetune, batches: Iterable) -> tuple[float, float]:
    """Mean seconds that a training step waits for its batch out of `batches`, and that the step itself takes.

    The step is that of `step`; more batches are made while it runs. The first wait fills the queues, and is not counted.
    """
    call = training_step(load, "fast", settings)
    waited, stepped, iterator = [], [], iter(batches)
    next(iterator)
    while True:
        start = time.perf_counter()
        call()
        middle = time.perf_counter()
        if next(iterator, None) is None:
            break
        waited.append(time.perf_counter() - middle)
        stepped.append(middle - start)
    return float(np.mean(waited)), float(np.mean(stepped))
