"""How much a run takes: arithmetic, time, memory and room on disk, from params.yaml and the number of clips alone.

All are estimates; each function says what it rests on.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.checks.source import Planned
from pipeline.params import Params

# What fraction of the speed of a large matrix product a network reaches, measured as above: 0.1 to 0.4 at the variants' own sizes
# (most at 0.16), and half as much for frames of 64 pixels. A busy machine, and what is not arithmetic, move it by as much.
EFFICIENCY = {64: 0.08, 128: 0.16}  # by pixels of a side; in between on a line, the same beyond
WITHIN = 3  # the factor that the estimate of time is good for
STEP = 3  # a training step's arithmetic over a forward pass's: the gradients by input and by weights cost one each
DECODE = 0.005  # seconds of one core a second of video (320 x 240, decoded whole, encoded at 5 fps)
STAGE = 12  # seconds a stage takes to start, six of them
BUILT = 1.0e9  # bytes of a process with TensorFlow, the Model Garden and a built network
BUFFERS = 0.6e9  # of clips held for shuffling, and decoded ahead

# Bytes of a JPEG frame are about JPEG * pixels ** JPEG_POWER at quality 95, within a fifth on 80 frames of UCF-101 from 64 to 320
# pixels; other qualities relative to that.
JPEG, JPEG_POWER = 8.4, 0.7
JPEG_QUALITY = {50: 0.33, 75: 0.46, 90: 0.72, 95: 1.0, 98: 1.35, 100: 1.85}
GRAPH = 6e6  # bytes of a SavedModel beside its variables


@dataclass(frozen=True)
class Work:
    """Of a whole run. gflop: arithmetic of forward passes and training steps. fixed: seconds of starting. decoding: core-seconds.

    efficiency: what part of a matrix product's speed the arithmetic reaches.
    """

    gflop: float
    efficiency: float
    fixed: float
    decoding: float

    def seconds(self, rate: float, cores: int) -> float:
        """At `rate` floating point operations a second of a matrix product on all cores."""
        return self.gflop * 1e9 / (rate * self.efficiency) + self.fixed + self.decoding / cores


def view_gflop(params: Params) -> float:
    """Of one view through the network; convolutions cost as many operations as there are pixels."""
    cost = params.model.cost(params.frames.count)
    return cost.gflop * params.frames.count * (params.frames.size / cost.pixels) ** 2


def work(params: Params, planned: Planned) -> Work:
    """Of a run from extract to report in which nothing is restored. Downloading is left out: it depends on the network."""
    clips, view, cost = planned.clips, view_gflop(params), params.model.cost(params.frames.count)
    held_out = clips["validation"] + clips["test"]
    efficiency = float(np.interp(params.frames.size, list(EFFICIENCY), list(EFFICIENCY.values())))
    decoding = planned.total * planned.seconds * DECODE
    if params.finetune.trainable == "head":
        passes, start = clips["train"] * params.embed.views + held_out * params.evaluate.views, cost.start / 2
    else:
        epochs, start = params.finetune.epochs, cost.start
        passes = (STEP * clips["train"] + clips["validation"]) * epochs + held_out * params.evaluate.views
    return Work(passes * view, efficiency, 6 * STAGE + start, decoding)


def memory(params: Params) -> tuple[int, str]:
    """Bytes at the peak of the largest stage, and what that is."""
    cost, pixels = params.model.cost(params.frames.count), params.frames.count * params.frames.size**2
    if params.finetune.trainable == "head":
        batch, each, doing = max(params.speed.inference_batch, params.embed.views), cost.forward, "embed"
    else:
        batch, each, doing = params.finetune.batch_size, cost.step, "finetune"
    wide = 0.6 if params.finetune.precision != "float32" and doing == "finetune" else 1.0  # of half-width activations
    what = f"{doing}, {batch} views of {params.frames.count} frames of {params.frames.size} px"
    return round(BUILT + BUFFERS + batch * pixels * each * wide), what


def frame_bytes(size: int, aspect: float, quality: int) -> float:
    """Of a JPEG frame whose short side has `size` pixels; aspect: width over height."""
    pixels = size * size * max(aspect, 1 / aspect)
    factor = float(np.interp(quality, list(JPEG_QUALITY), list(JPEG_QUALITY.values())))
    return JPEG * pixels**JPEG_POWER * factor


@dataclass(frozen=True)
class Room:
    """Bytes a run writes: outputs of the stages, fetched clips and what is kept for resuming, DVC's cache, temporary files."""

    outputs: int
    scratch: int
    cache: int
    temporary: int


def room(params: Params, planned: Planned) -> Room:
    """At most; what earlier runs left is not subtracted."""
    frames = planned.total * math.ceil(planned.seconds * params.frames.fps)
    records = frames * frame_bytes(params.frames.size, planned.aspect, params.frames.quality)
    cost = params.model.cost(params.frames.count)
    weights = 4 * cost.parameters
    embedded = 0
    if params.finetune.trainable == "head":
        clips = planned.clips
        views = clips["train"] * params.embed.views + (clips["validation"] + clips["test"]) * params.evaluate.views
        embedded = 4 * cost.features * views + 2 * weights + GRAPH
    model = 2 * weights + GRAPH  # a checkpoint and a SavedModel
    # Weights, two moments and the best epoch, twice while a checkpoint is replaced.
    training = 0 if params.finetune.trainable == "head" else 8 * weights
    fetched = planned.bytes if params.data.archive is not None else 0
    outputs = planned.bytes + records + embedded + model
    return Room(round(outputs + model), round(fetched + training), round(outputs), round(2 * model))
