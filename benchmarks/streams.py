"""Stream networks to be timed frame by frame: files of full size in every format, and the seconds of their frames.

What takes TensorFlow runs in child processes, so that LiteRT has the command's own to itself. All ways of one network are ready
at once and take turns, so that whatever else the machine does falls on all alike.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.ours import bytes_in
from benchmarks.settings import SEED
from benchmarks.timing import alternate
from benchmarks.workers import one_side
from pipeline.export.table import SAVED_MODEL
from pipeline.inference.lite import LiteClassifier
from pipeline.models.movinet.network.variants import KINETICS_CLASSES, VARIANTS
from pipeline.settings import EXPORT_FORMATS

if TYPE_CHECKING:
    from pipeline.export.measure import Stream
    from pipeline.models.movinet.stream import StreamingClassifier

FORMATS = (*EXPORT_FORMATS, SAVED_MODEL)
ROUNDS = 5
WARM_UP = 3  # frames before each turn: the others' turns have emptied the processor's caches
FEWEST = 5  # frames of a turn
FRAMES = 8  # of the clip that int8 is calibrated on, and of a view
REZERO = 0.5  # with the Model Garden's 0, a converter could leave out most of a random network
SHIFT = 0.1  # of what is added after a convolution: zeros would be left out, and with them what is computed in one go with them


@dataclass(frozen=True)
class Latency:
    """A network's frames on this machine: milliseconds each, over so many `frames`.

    format: of FORMATS. size: pixels of a side. bytes: of the file, or of all files of the SavedModel. state_bytes: what is handed
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


class _Timed(NamedTuple):
    """One turn: the seconds of each frame, and the bytes of the states."""

    seconds: list[float]
    state_bytes: int


def frame_seconds(stream: "Stream", size: int, seconds: float) -> _Timed:
    """Steps of a stream for about so many seconds, at least FEWEST, after WARM_UP that do not count."""
    frames = np.random.default_rng(SEED).random((FRAMES, size, size, 3), np.float32)
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
    return _Timed(times, stream.state_bytes)


@functools.lru_cache(maxsize=1)
def _classifier(model: str, weights: str, size: int | None) -> "StreamingClassifier":
    """With Kinetics-600's number of classes. What a frame costs does not depend on the weights, as long as they are not zero."""
    from pipeline.models.movinet.stream import StreamingClassifier, pretrained_streaming

    variant = VARIANTS[model]
    classes = [f"class {number}" for number in range(KINETICS_CLASSES)]
    if weights != "random":
        return pretrained_streaming(model, weights, classes, size)
    import tf_keras

    from pipeline.models.movinet.network.build import build_backbone, build_classifier, set_rezero

    tf_keras.utils.set_random_seed(SEED)
    backbone = build_backbone(variant)
    set_rezero(backbone, REZERO)
    network = build_classifier(variant, backbone, KINETICS_CLASSES)
    rng = np.random.default_rng(SEED)
    for weight in network.weights:
        if weight.name.endswith(("/beta:0", "/bias:0")):
            weight.assign(rng.normal(0, SHIFT, weight.shape))
    size = size or variant.resolution
    return StreamingClassifier(network, variant, classes, fps=float(variant.fps), size=size)


def make(model: str, weights: str, size: int | None, format: str, path: Path) -> None:
    """Writes a network of random or other `weights` (as in model.weights), at `size` pixels or its own, to `path`."""
    from pipeline.export.convert import convert
    from pipeline.export.saved import save_streaming

    classifier = _classifier(model, weights, size)
    if format == SAVED_MODEL:
        save_streaming(classifier, path, count=FRAMES, views=1)
        return
    side = classifier.size
    noise = np.random.default_rng(SEED).random((1, FRAMES, side, side, 3), np.float32)  # ranges do not change what a frame costs
    path.write_bytes(convert(classifier, format, calibration=noise if format == "int8" else None))


@functools.lru_cache(maxsize=1)
def _saved(folder: Path, threads: int) -> "Stream":
    import tensorflow as tf

    from pipeline.export.saved import SavedStream

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return SavedStream(folder)


def _saved_seconds(folder: Path, threads: int, size: int, seconds: float) -> _Timed:
    return frame_seconds(_saved(folder, threads), size, seconds)


@contextmanager
def _ways(files: dict[str, Path], threads: Sequence[int], size: int) -> Iterator[dict[tuple[str, int], Callable]]:
    """What to call with a number of seconds to have a turn, by format and threads."""
    with ExitStack() as stack:
        ways: dict[tuple[str, int], Callable] = {}
        for format, path in files.items():
            for number in threads:
                if format == SAVED_MODEL:  # TensorFlow takes its number of threads once a process
                    side = stack.enter_context(one_side(f"the SavedModel with {number} threads"))
                    ways[format, number] = functools.partial(side.run, _saved_seconds, path, number, size)
                else:
                    ways[format, number] = functools.partial(frame_seconds, LiteClassifier(path, number), size)
        yield ways


def measure_streams(
    model: str,
    folder: Path,
    *,
    formats: Sequence[str],
    threads: Sequence[int],
    weights: str,
    size: int | None,
    seconds: float,
    on_step: Callable[[], object] = lambda: None,
) -> list[Latency]:
    """A row for each format with each number of threads.

    Args:
      model: a stream variant.
      folder: where its files are made.
      seconds: measured for each row, in ROUNDS turns.
      on_step: called after each file that is made and each round; `steps` says how often.

    Raises:
      UserError: weights that cannot be had or do not fit.
    """
    files = {format: folder / f"{model}-{format}" for format in formats}
    with one_side(f"{model}, which is being converted") as side:
        for format, path in files.items():
            side.run(make, model, weights, size, format, path)
            on_step()
    side_pixels = size or VARIANTS[model].resolution
    with _ways(files, threads, side_pixels) as ways:
        for way in ways.values():
            way(0.0)
        on_step()
        turns = [functools.partial(way, seconds / ROUNDS) for way in ways.values()]
        results = alternate(turns, ROUNDS, float("inf"), on_step)
    rows = []
    for (format, number), timed in zip(ways, results, strict=True):
        each = 1000 * np.concatenate([turn.seconds for turn in timed])
        low, median, high = np.percentile(each, (10, 50, 90)).tolist()
        milliseconds = {"median": median, "low": low, "high": high, "fastest": float(each.min())}
        size_of = bytes_in(files[format]) if format == SAVED_MODEL else files[format].stat().st_size
        rows.append(Latency(model, format, number, side_pixels, size_of, timed[0].state_bytes, frames=len(each), **milliseconds))
    return rows


def steps(formats: Sequence[str]) -> int:
    """How often `measure_streams` calls `on_step`."""
    return len(formats) + 1 + ROUNDS
