"""What no pipeline could beat here: a bare decode loop, and the network's arithmetic at the speed of a large matrix product."""

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.networks import Load, classifier, inputs
from benchmarks.timing import seconds_a_call

PRODUCT_SIDE = 2048  # rows and columns of the matrices whose product is timed: far beyond the caches
BACKWARD = 3  # a training step's arithmetic over a forward pass's: the gradients by input and by weights cost one each


def bare_decode(paths: Sequence[Path], fps: float) -> float:
    """Seconds a clip to grab every frame and retrieve those that are needed at `fps`, on one core; nothing is done with them."""
    start = time.perf_counter()
    for path in paths:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        step = max(1, round(capture.get(cv2.CAP_PROP_FPS) / fps))
        number = 0
        while capture.grab():
            if number % step == 0:
                capture.retrieve()
            number += 1
        capture.release()
    return (time.perf_counter() - start) / len(paths)


def bare_read(paths: Sequence[Path]) -> float:
    """Seconds a clip to read every frame on one core, as a loop over `capture.read()` does."""
    start = time.perf_counter()
    for path in paths:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        while capture.read()[0]:
            pass
        capture.release()
    return (time.perf_counter() - start) / len(paths)


def forward_flops(load: Load) -> int:
    """Multiplications and additions of a network's forward pass, as `pipeline.sweeping.arithmetic` counts them."""
    import tensorflow as tf

    from pipeline.sweeping.arithmetic import flops

    model = classifier(load.model, "fast")
    clips = tf.TensorSpec(inputs(load).shape, tf.float32)
    return flops(lambda frames: model({"image": frames}, training=False), clips)


def product_rate() -> float:
    """Floating point operations a second of a float32 matrix product on all cores."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    one, other = (tf.constant(rng.random((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)) for _ in range(2))
    product = tf.function(tf.linalg.matmul)
    product(one, other).numpy()
    return 2 * PRODUCT_SIDE**3 / seconds_a_call(lambda: product(one, other).numpy())
