"""Estimates of what a run takes: time, memory and disk space, from params.yaml and the number of clips.

They tell minutes from days, and a fit from a failure. Time is within a factor of 3, memory and disk space within a factor of 2.
"""

import math
from pathlib import Path

from pipeline.check_results import CheckResult, ok, problem, warning
from pipeline.checks.machine import Gpu, check_disks, cores, free_memory, product_rate
from pipeline.checks.source import Planned
from pipeline.files import repository_root
from pipeline.params import Params
from pipeline.revisions import cache_folder
from pipeline.video.sampling import FRAME_ORDERS

LONG = 12 * 3600  # seconds after which the estimated time is a warning

# Networks reach this fraction of the speed of a large matrix product: measured 0.1 to 0.4 at the variants' own sizes, and half of
# that for frames of 64 pixels.
EFFICIENCY = 0.13
OPENVINO_EFFICIENCY = 0.3  # of frozen networks: measured 0.5 to 0.6 at their own sizes, and half with decoding and augmentation
STEP = 3  # arithmetic of a training step over that of a forward pass: the gradients by input and by weights cost one each
DECODE = 0.005  # seconds of one core per second of video (320 x 240, decoded whole, encoded at 5 fps)
INTERPOLATION_STEPS = 11  # between the start of a training and its end; see training.interpolation
STAGES, STAGE_START = 6, 12  # stages, and seconds that each takes to start
PROCESS = 1.6e9  # bytes of a process with TensorFlow, a built network, and clips that are decoded ahead and shuffled
HALF_WIDTH = 0.6  # memory of a batch in mixed precision over that in float32
ASPECT = 4 / 3  # long side over short side of a frame
JPEG, JPEG_POWER = 8.4, 0.7  # a JPEG frame of quality 95 has about JPEG * pixels ** JPEG_POWER bytes (UCF-101, 64 to 320 pixels)
GRAPH = 6e6  # bytes of a SavedModel without its variables


def _views(params: Params, planned: Planned) -> int:
    """Views that the frozen backbone embeds, without those of the baselines."""
    held_out = planned.clips["validation"] + planned.clips["test"]
    return planned.clips["train"] * params.embed.views + held_out * params.evaluate.views


def _baseline_views(params: Params, planned: Planned) -> int:
    """Views of the baselines: the network is run on those as recorded, too, whose features are kept if it is frozen."""
    orders = len(FRAME_ORDERS) - (1 if params.finetune.frozen else 0)
    return orders * min(params.evaluate.baseline_clips, planned.clips["test"])


def run_gflop(params: Params, planned: Planned) -> float:
    """Arithmetic of all forward passes and training steps. A convolution costs as many operations as there are pixels."""
    cost = params.model.cost(params.frames.count)
    view = cost.gflop * params.frames.count * (params.frames.size / cost.pixels) ** 2
    if params.finetune.frozen:
        return view * (_views(params, planned) + _baseline_views(params, planned))
    clips, epochs = planned.clips, params.finetune.epochs
    held_out = clips["validation"] + clips["test"]
    passes = (STEP * clips["train"] + clips["validation"]) * epochs + held_out * params.evaluate.views
    passes += _baseline_views(params, planned)
    if params.finetune.start == "probe":  # its features, epoch 0, and the steps between it and the trained network
        passes += _views(params, planned) + clips["validation"] * (1 + (INTERPOLATION_STEPS - 1) * params.evaluate.views)
    return view * passes


def run_seconds(params: Params, planned: Planned, rate: float, cores: int) -> float:
    """From extract to report, if no stage is up to date. rate: floating point operations per second of a matrix product."""
    start = params.model.cost(params.frames.count).start / (2 if params.finetune.frozen else 1)
    decoding = planned.decoded * DECODE / cores
    in_openvino = params.finetune.frozen and params.speed.engine != "tensorflow"
    arithmetic = run_gflop(params, planned) * 1e9 / (rate * (OPENVINO_EFFICIENCY if in_openvino else EFFICIENCY))
    return arithmetic + STAGES * STAGE_START + start + decoding


def check_time(params: Params, planned: Planned, has_gpu: bool) -> CheckResult:
    """Estimates the time from the speed of a matrix product on this machine now."""
    if has_gpu:
        return ok("time", "not estimated: TensorFlow uses the GPU, and only the processor's speed is measured here")
    rate = product_rate()
    seconds, gflop = run_seconds(params, planned, rate, cores()), run_gflop(params, planned)
    line = (
        f"about {_duration(seconds)} from extract to report on these {cores()} cores, without downloading: an estimate within a "
        f"factor of 3, from {gflop:,.{0 if gflop >= 10 else 1}f} GFLOP and a matrix product at {rate / 1e9:,.0f} GFLOP/s"
    )
    if seconds > LONG:
        return warning("time", line, "choose a smaller model, fewer clips or epochs, finetune=probe, or a GPU")
    return ok("time", line)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def peak_memory(params: Params) -> tuple[int, str]:
    """Bytes at the peak of the largest stage, and which that is."""
    cost, pixels = params.model.cost(params.frames.count), params.frames.count * params.frames.size**2
    if params.finetune.frozen:
        stage, batch, bytes_per_pixel = "embed", max(params.speed.inference_batch, params.embed.views), cost.forward
    else:
        stage, batch = "finetune", params.finetune.batch_size
        bytes_per_pixel = cost.step * (1.0 if params.finetune.precision == "float32" else HALF_WIDTH)
    what = f"{stage}, {batch} views of {params.frames.count} frames of {params.frames.size} px"
    return round(PROCESS + batch * pixels * bytes_per_pixel), what


def check_memory(params: Params, gpus: list[Gpu], has_gpu: bool) -> CheckResult:
    need, what = peak_memory(params)
    free, where = (min(gpu.free for gpu in gpus), "on the GPU") if has_gpu else (free_memory(), "")
    line = f"about {need / 1e9:.1f} GB at the peak ({what}; estimated), {free / 1e9:.1f} GB free {where}".rstrip()
    key = "speed.inference_batch" if params.finetune.frozen else "finetune.batch_size"
    advice = f"lower {key} or frames.count, or close other programs"
    if need > 1.5 * free:
        return problem("memory", line, advice)
    return warning("memory", line, advice) if need > 0.8 * free else ok("memory", line)


def disk_space(params: Params, planned: Planned) -> dict[Path, int]:
    """Bytes that the run writes to each folder, at most: files of earlier runs are not subtracted."""
    frames = planned.total * math.ceil(planned.seconds * params.frames.fps)
    pixels = params.frames.size**2 * ASPECT
    cost = params.model.cost(params.frames.count)
    model = 2 * 4 * cost.parameters + GRAPH  # a checkpoint and a SavedModel
    head = params.finetune.frozen
    outputs = planned.bytes + frames * JPEG * pixels**JPEG_POWER + 2 * model
    outputs += 4 * cost.features * _views(params, planned) if head else 0
    fetched = planned.bytes if params.data.archive is not None else 0
    training = 0 if head else 8 * 4 * cost.parameters  # weights, two moments and the best epoch, twice during a replacement
    folders = {Path("data"): outputs, repository_root() / ".cache": fetched + training, cache_folder(): outputs}
    return {folder: round(size) for folder, size in folders.items()}


def check_disk(params: Params, planned: Planned) -> list[CheckResult]:
    return check_disks(disk_space(params, planned))
