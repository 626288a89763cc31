"""Builds calibration into a trained model: its logits on the validation clips, and the temperature in its last layer.

What temperature fits, and when a prediction is unknown, is the caller's choice (`contract.Decide`): it needs only logits.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from pipeline.console import progress
from pipeline.training.datasets import test_clips
from pipeline.video.sampling import Sampling


def divide_logits(model: tf_keras.Model, temperature: float) -> None:
    """Divides the logits by `temperature`, in the weights: kernel and bias, the last two of the last layer, make the logits."""
    layer = model.layers[-1]
    *others, kernel, bias = layer.get_weights()
    layer.set_weights([*others, kernel / np.float32(temperature), bias / np.float32(temperature)])


def compiled(network: tf_keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Logits of views, traced once; it uses the weights that the network has when it is called."""
    return tf.function(lambda image: network({"image": image}, training=False), reduce_retracing=True)


def network_logits(
    run: Callable[[tf.Tensor], tf.Tensor], files: Sequence[Path], clips: int, views: int, sampling: Sampling, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a float32 network, as `compiled` returns it, on the evenly spaced views of the clips in `files`, as evaluation does.

    Args:
      clips: number of clips in `files`. batch: number of views at a time.

    Returns:
      Logits float32 (clips, views, classes), and labels int64 (clips,).
    """
    logits, labels = [], []
    with progress(total=clips, describe="calibrating", unit="clip") as bar:
        for block in test_clips(files, views, sampling).batch(max(1, batch // views)).prefetch(2):
            pixels = block["views"]
            each = run(tf.reshape(pixels, (-1, *pixels.shape[2:]))).numpy()
            logits.append(each.reshape(-1, views, each.shape[-1]))
            labels.append(block["label"].numpy())
            bar.update(len(pixels))
    return np.concatenate(logits), np.concatenate(labels)
