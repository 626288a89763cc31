"""Training a head on cached features: Keras's `fit` against this pipeline's graph, with the same updates, on random features."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.models.movinet.settings import Settings
from pipeline.settings import Finetune

VIEWS, CLASSES = 1140, 5  # 285 clips, 4 views each


def _head(model: Settings):
    from pipeline.models.movinet.network.head import build_head

    variant = model.variant
    return build_head(variant.features, CLASSES, activation=variant.activation, dropout=variant.dropout, seed=1)


def _views(model: Settings) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    features = random.normal(size=(VIEWS, model.variant.features)).astype(np.float32)
    return features, random.integers(0, CLASSES, VIEWS).astype(np.int32)


def fit(model: Settings, finetune: Finetune) -> float:
    """Seconds of Keras's `fit` for an epoch: the median of those after the first, which traces."""
    import tf_keras

    from pipeline.training.optimizer import build_optimizer

    class Stopwatch(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.started)

    seconds: list[float] = []
    features, labels = _views(model)
    head = _head(model)
    head.compile(
        build_optimizer(finetune, -(-VIEWS // finetune.batch_size) * finetune.epochs),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    head.fit(features, labels, finetune.batch_size, finetune.epochs, verbose=0, callbacks=[Stopwatch()])
    return statistics.median(seconds[1:])


def graph(model: Settings, finetune: Finetune) -> float:
    """The same of this pipeline."""
    from pipeline.training.cached_features import CachedFeatures
    from pipeline.training.contract import Training
    from pipeline.training.top import train_on_features

    features, labels = _views(model)
    train = CachedFeatures(features[:, np.newaxis], labels[:, np.newaxis], None)
    held_out = CachedFeatures(train.features[:32], train.labels[:32], None)
    with tempfile.TemporaryDirectory() as folder:
        history, _ = train_on_features(_head(model), train, held_out, Training(model, finetune, 1, Path(folder)))
    return float(history["seconds"].iloc[1:].median())
