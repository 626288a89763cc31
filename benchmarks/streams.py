"""Stream networks to be timed frame by frame: files of full size in every format, and the seconds of their frames.

Each file with each number of threads is open in a process of its own, as TensorFlow takes its number of threads once a process.
"""

import functools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.networks import SEED, build_random
from benchmarks.table import bytes_in
from benchmarks.timing import alternate
from benchmarks.workers import ChildProcess
from pipeline.console import say
from pipeline.export.table import SAVED_MODEL
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS
from pipeline.settings import EXPORT_FORMATS

if TYPE_CHECKING:
    import tf_keras

    from pipeline.export.measure import Stream
    from pipeline.models.movinet.stream import StreamingClassifier

CLASSIFIER = "classifier"  # a classifier's folder, in OpenVINO
FORMATS = (*EXPORT_FORMATS, SAVED_MODEL, CLASSIFIER)
ROUNDS = 5
WARM_UP = 3  # frames before each measurement: other networks have emptied the processor's caches
FEWEST = 5  # frames of a measurement
FRAMES = 8  # of the clip that int8 is calibrated on, and of a view
SHIFT = 0.1  # of what is added after a convolution: a converter would leave out zeros, and with them part of the work


@dataclass(frozen=True)
class Latency:
    """A network's frames on this machine: milliseconds each, over so many `frames`.

    format: of FORMATS. size: pixels of a side. bytes: of the file, or of all files of the SavedModel. state_bytes: what is kept
    from frame to frame. median, low, high, fastest: of the milliseconds, low and high the 10th and 90th percentile.
    """

    model: str
    format: str
    threads: int
    size: int
    bytes: int
    state_bytes: int
    frames: int
    median: float
    low: float
    high: float
    fastest: float


def frame_seconds(stream: "Stream", seconds: float) -> list[float]:
    """Times steps of a stream for about so many seconds, at least FEWEST, after WARM_UP that do not count."""
    frames = np.random.default_rng(SEED).random((FRAMES, stream.size, stream.size, 3), np.float32)
    stream.reset()
    for frame in frames[:WARM_UP]:
        stream.step(frame)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        frame = frames[len(times) % FRAMES]
        start = time.perf_counter()
        stream.step(frame)
        times.append(time.perf_counter() - start)
    return times


@functools.lru_cache(maxsize=1)
def _network(model: str, weights: str) -> "tf_keras.Model":
    """With Kinetics-600's number of classes. What a frame costs does not depend on the weights, as long as they are not zero."""
    from pipeline.models.movinet.network.build import build_backbone, build_classifier
    from pipeline.models.movinet.network.weights.checkpoints import restore
    from pipeline.models.movinet.network.weights.finding import find_weights

    variant = VARIANTS[model]
    prefix = find_weights(weights, variant)
    if prefix is not None:
        network = build_classifier(variant, build_backbone(variant))
        restore(network, prefix, weights)
        return network
    network, rng = build_random(model, "auto"), np.random.default_rng(SEED)
    for weight in network.weights:
        if weight.name.endswith(("/beta:0", "/bias:0")):
            weight.assign(rng.normal(0, SHIFT, weight.shape))
    return network


def _stream(model: str, weights: str, size: int) -> "StreamingClassifier":
    from pipeline.models.movinet.stream import StreamingClassifier
    from pipeline.video.sampling import Sampling

    variant, classes = VARIANTS[model], [f"class {number}" for number in range(KINETICS_CLASSES)]
    expected = {"fps": float(variant.fps), "size": size, "sampling": Sampling(FRAMES, size), "views": 1}
    return StreamingClassifier(_network(model, weights), variant, classes, **expected)


def make_file(model: str, weights: str, size: int, format: str, path: Path) -> None:
    """Writes a network of random or other `weights` (as model.weights) to `path`."""
    if format == CLASSIFIER:
        import tensorflow as tf

        tf.train.Checkpoint(model=_network(model, weights)).write(str(path / "ckpt-1"))
        return
    from pipeline.export.convert import convert
    from pipeline.export.saved import save_streaming

    classifier = _stream(model, weights, size)
    if format == SAVED_MODEL:
        save_streaming(classifier, path)
        return
    noise = np.random.default_rng(SEED).random((1, FRAMES, size, size, 3), np.float32)  # ranges do not change what a frame costs
    path.write_bytes(convert(classifier, format, calibration=noise if format == "int8" else None))


@functools.lru_cache(maxsize=1)
def _open(model: str, size: int, path: Path, format: str, threads: int) -> "Stream":
    if format == CLASSIFIER:
        from pipeline.inference.openvino_stream import OpenvinoStream
        from pipeline.models.movinet.frame_graph import graph_of_checkpoint

        return OpenvinoStream(graph_of_checkpoint(path / "ckpt-1", VARIANTS[model], size))
    if format != SAVED_MODEL:
        from pipeline.inference.lite import LiteClassifier

        return LiteClassifier(path, threads)
    import tensorflow as tf

    from pipeline.inference.saved_stream import SavedStream

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return SavedStream(path)


def time_file(model: str, size: int, path: Path, format: str, threads: int, seconds: float) -> list[float]:
    return frame_seconds(_open(model, size, path, format, threads), seconds)


def state_bytes(model: str, size: int, path: Path, format: str, threads: int) -> int:
    return _open(model, size, path, format, threads).state_bytes


def measure_streams(
    model: str, folder: Path, *, formats: Sequence[str], threads: Sequence[int], weights: str, size: int | None, seconds: float
) -> list[Latency]:
    """A row for each format with each number of threads.

    Args:
      model: a stream variant.
      folder: where its files are made.
      seconds: measured for each row, in ROUNDS rounds.

    Raises:
      UserError: weights that cannot be had or do not fit.
    """
    size = size or VARIANTS[model].resolution
    files = {format: folder / f"{model}-{format}" for format in formats}
    with ChildProcess(f"{model}, which is being converted") as child:
        for format, path in files.items():
            say(f"{model}: making {format}")
            child.run(make_file, model, weights, size, format, path)
    with ExitStack() as stack:
        children, ways = {}, {}
        for opened in [(files[format], format, number) for format in formats for number in threads]:
            if opened[1] == CLASSIFIER and opened[2] > 1:
                continue  # a frame is computed on one thread
            children[opened] = stack.enter_context(ChildProcess(f"{model} as {opened[1]} with {opened[2]} threads"))
            ways[opened] = functools.partial(children[opened].run, time_file, model, size, *opened, seconds / ROUNDS)
        found, _ = alternate(ways, ROUNDS, describe=model)
        states = {opened: child.run(state_bytes, model, size, *opened) for opened, child in children.items()}
    rows = []
    for (path, format, number), rounds in found.items():
        each = 1000 * np.concatenate(rounds)
        low, median, high = np.percentile(each, (10, 50, 90)).tolist()
        milliseconds = {"median": median, "low": low, "high": high, "fastest": float(each.min())}
        file_bytes, kept = bytes_in(path), states[path, format, number]
        rows.append(Latency(model, format, number, size, file_bytes, kept, frames=len(each), **milliseconds))
    return rows
