"""The parts of the benchmark that measure one thing at a time: decoding, forward passes, training steps."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import limits, networks, plain
from benchmarks import ours as our_stages
from benchmarks.table import Row
from benchmarks.timing import alternate
from benchmarks.workers import Side, both
from pipeline.console import progress, say
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.params import Params

# Clips of a batch: the largest networks on their native frames would not fit into 24 GB with more.
FORWARD_BATCH = {"a0": 8, "a1": 8, "a2": 8, "a3": 2, "a4": 2, "a5": 1}
STEP_BATCH = {"a0": 8, "a1": 4, "a2": 4, "a3": 2, "a4": 2, "a5": 1}
STEP_SIZE = 64  # pixels; stock steps at native sizes take minutes each
WORKERS = 2


@dataclass
class Bench:
    """The two processes, how often to measure, and what was found.

    repeats: rounds of a comparison. seconds: after which no further round of it begins.
    """

    plain: Side
    ours: Side
    repeats: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def rounds(self, describe: str, *ways: Callable[[], object]) -> list[list]:
        """Measures the ways in turn, with a bar."""
        with progress(total=self.repeats, describe=describe, unit="round") as bar:
            return alternate(ways, self.repeats, self.seconds, bar.update)


def _with_workers(params: Params, workers: int) -> Params:
    return params.model_copy(update={"frames": params.frames.model_copy(update={"workers": workers})})


def labelled(manifest: pd.DataFrame, clips: Path, split: str) -> tuple[tuple[str, int], ...]:
    """Path and label of a split's clips, in the manifest's order."""
    rows = manifest[manifest["split"] == split]
    return tuple((str(clips / clip), int(label)) for clip, label in zip(rows["clip"], rows["label"], strict=True))


def decode_rows(bench: Bench, params: Params, work: Path, manifest: pd.DataFrame) -> None:
    """Plain decoding beside extraction, and extraction beside bare loops over the same files."""
    frames = params.frames
    clips = [clip for split in ("train", "validation", "test") for clip in labelled(manifest, work / our_stages.CLIPS, split)]
    paths, count = [path for path, _ in clips], len(clips)
    views = plain.Views(tuple(clips), frames.count, frames.size, frames.fps, False, random.Random(params.seed))
    one, two = _with_workers(params, 1), _with_workers(params, WORKERS)

    say(f"decode: {count} clips, warming up")
    bench.ours.run(our_stages.extract_clips, two, work)
    bench.ours.run(our_stages.read_views, params, work)
    found = bench.rounds(
        "decode",
        lambda: bench.plain.run(plain.decode_all, views),
        lambda: bench.ours.run(our_stages.extract_clips, one, work) / count,
        lambda: bench.ours.run(our_stages.extract_clips, two, work) / count,
        lambda: bench.ours.run(our_stages.read_views, params, work),
        lambda: bench.ours.run(limits.bare_decode, paths, frames.fps),
        lambda: bench.ours.run(limits.bare_read, paths),
    )
    by_plain, by_one, by_two, again, bare, read = map(tuple, found)
    measured = f"{count} clips"

    def add(kind: str, what: str, ours: tuple, other: tuple, note: str) -> None:
        bench.rows.append(Row("decode", kind, what, "a clip", ours, other, measured, note))

    view = f"{frames.count} frames of {frames.size} px"
    whole = f"ours is the extract stage: the whole clip at {frames.fps:g} frames a second, as JPEGs in TFRecords"
    add("speed", f"decode: {view} against extraction, 1 worker", by_one, by_plain, f"{whole}; done once, not every epoch")
    add("speed", f"decode: {view} against extraction, {WORKERS} workers", by_two, by_plain, whole)
    add("speed", f"decode: {view} for a later epoch", again, by_plain, "ours: a training view out of the records")
    add("speed", f"extraction: 1 worker over {WORKERS}", by_two, by_one, "the plain column is ours with 1 worker")
    add("limit", "extraction, 1 worker", by_one, bare, "limit: every frame grabbed, those needed retrieved, on one core")
    add("limit", "extraction, 1 worker", by_one, read, "limit: every frame read, on one core")


def _difference(one: np.ndarray, other: np.ndarray) -> str:
    return f"logits differ by {np.abs(one - other).max() / np.abs(one).max():.0e} of the largest"


def _add_arithmetic(bench: Bench, what: str, seconds: tuple, flops: float, rates: list[float], measured: str) -> None:
    rate = f"{flops / 1e9:.3g} GFLOP; matrix product at {np.median(rates) / 1e9:.0f} GFLOP/s"
    limit = tuple(flops / rate for rate in rates)
    bench.rows.append(Row("arithmetic", "limit", f"{what}, arithmetic alone", "a call", seconds, limit, measured, rate))


def forward_rows(bench: Bench, model: str, frames: int, size: int | None) -> None:
    """A forward pass of a network, stock beside fast, and its arithmetic."""
    load = networks.Load(model, FORWARD_BATCH[model], frames, size or VARIANTS[model].resolution)
    say(f"forward {load}: building and compiling; XLA takes its time over the stock network")
    (first, logits), (our_first, our_logits) = both(
        (bench.plain, networks.first_forward, load, "stock"), (bench.ours, networks.first_forward, load, "fast")
    )
    flops = bench.ours.run(limits.forward_flops, load)
    found = bench.rounds(
        f"forward {load}",
        lambda: bench.plain.run(networks.forward, load, "stock"),
        lambda: bench.ours.run(networks.forward, load, "fast"),
        lambda: bench.ours.run(limits.product_rate),
    )
    note = f"{_difference(logits, our_logits)}; not counted: first calls, at once, {first:.0f} s and ours {our_first:.0f} s"
    stock, fast, rates = found
    bench.rows.append(Row("forward", "speed", f"forward {load}", "a batch", tuple(fast), tuple(stock), "whole", note))
    _add_arithmetic(bench, f"forward {load}", tuple(fast), flops, rates, "whole")


def stream_row(bench: Bench, model: str, frames: int, size: int | None) -> None:
    """The stream variant's forward pass: its 2D convolutions are the stock ones, so there is nothing to compare."""
    load = networks.Load(f"{model}_stream", FORWARD_BATCH[model], frames, size or VARIANTS[model].resolution)
    say(f"forward {load}: building")
    bench.ours.run(networks.first_forward, load, "fast")
    (seconds,) = bench.rounds(f"forward {load}", lambda: bench.ours.run(networks.forward, load, "fast"))
    bench.rows.append(Row("stream", "time", f"forward {load}", "a batch", tuple(seconds)))


def step_rows(bench: Bench, model: str, frames: int, sizes: Sequence[int], params: Params) -> None:
    """A training step of the whole network, batch norm included, stock beside fast, at each of the sizes."""
    for size in sizes:
        load = networks.Load(model, STEP_BATCH[model], frames, size)
        say(f"step {load}: building and compiling; XLA takes its time over the stock network")
        first, our_first = both(
            (bench.plain, networks.first_step, load, "stock", None),
            (bench.ours, networks.first_step, load, "fast", params.finetune),
        )
        flops = bench.ours.run(limits.forward_flops, load) * limits.BACKWARD
        stock, fast, rates = bench.rounds(
            f"step {load}",
            lambda load=load: bench.plain.run(networks.step, load, "stock", None),
            lambda load=load: bench.ours.run(networks.step, load, "fast", params.finetune),
            lambda: bench.ours.run(limits.product_rate),
        )
        note = f"forward, backward, update; not counted: first calls, at once, {first:.0f} s and ours {our_first:.0f} s"
        bench.rows.append(Row("step", "speed", f"training step {load}", "a step", tuple(fast), tuple(stock), "whole", note))
        _add_arithmetic(bench, f"training step {load}", tuple(fast), flops, rates, "whole")


def wait_row(bench: Bench, params: Params, work: Path) -> None:
    """What a training step waits for its batch, over what the step takes: how far reading starves training."""
    say(f"input: an epoch of training steps of {params.model.id}, fed from the records")
    bench.ours.run(our_stages.extract_clips, _with_workers(params, WORKERS), work)
    (found,) = bench.rounds("input", lambda: bench.ours.run(our_stages.input_wait, params, work))
    waits, steps = zip(*found, strict=True)
    batch = f"{params.finetune.batch_size} x {params.frames.count} x {params.frames.size} px"
    note = f"beside a step of {np.median(steps):.3g} s, which the reading runs beside"
    bench.rows.append(Row("input", "time", f"wait for a batch, {params.model.id}, {batch}", "a step", waits, note=note))
