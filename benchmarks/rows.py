"""The rows of the benchmark that measure one thing at a time: decoding, networks, training steps, input."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import codecs, heads, networks, ours, plain
from benchmarks.table import Row
from benchmarks.timing import alternate
from benchmarks.workers import ChildProcess
from pipeline.checks.machine import product_rate
from pipeline.console import say
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.params import Params
from pipeline.settings import Finetune
from pipeline.sources.folders import folder_clips

# Clips of a batch: the largest networks on their native frames would not fit into 24 GB with more.
FORWARD_BATCH = {"a0": 8, "a1": 8, "a2": 8, "a3": 2, "a4": 2, "a5": 2}
STEP_BATCH = {"a0": 8, "a1": 4, "a2": 4, "a3": 2, "a4": 2, "a5": 1}
BACKWARD = 3  # a training step's arithmetic over a forward pass's: the gradients by input and by weights cost one each
WORKERS = 2
CODEC_CLIPS = 8
HEAD_EPOCHS = 6  # of which the first is not counted


@dataclass
class Bench:
    """The two processes, how often to measure, and what was found.

    rounds: of a comparison. seconds: after which no further round of it begins. facts: what is no row.
    """

    plain: ChildProcess
    ours: ChildProcess
    rounds: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def compare(self, describe: str, *, warm_up: bool = True, **ways) -> tuple[dict[str, tuple], dict[str, float]]:
        """What the calls of each way gave, in rounds by turns, and the seconds of its warm-up."""
        found, first = alternate(ways, self.rounds, describe=describe, seconds=self.seconds, warm_up=warm_up)
        return {way: tuple(results) for way, results in found.items()}, first


def add_decode_rows(bench: Bench, params: Params, folder: Path) -> None:
    """Plain decoding against extraction, and extraction against bare loops over the same files."""
    frames, run = params.frames, bench.ours.run
    manifest = run(ours.place_clips, params, folder)
    clips = plain.labelled_clips(manifest, folder / ours.CLIPS, "train", "validation", "test")
    paths, count = [path for path, _ in clips], len(clips)
    found, _ = bench.compare(
        "decode",
        plain=partial(bench.plain.run, plain.decode_all, clips, frames),
        one=lambda: run(ours.extract_clips, params, folder, 1) / count,
        two=lambda: run(ours.extract_clips, params, folder, WORKERS) / count,
        later=partial(run, ours.read_views, params, folder),
        grabbed=partial(run, plain.read_bare, paths, frames.fps),
        read=partial(run, plain.read_bare, paths, None),
    )

    def add(kind: str, what: str, ours: str, other: str, note: str) -> None:
        bench.rows.append(Row("decode", kind, what, "a clip", found[ours], found[other], f"{count} clips", note))

    view = f"{frames.count} frames of {frames.size} px"
    whole = f"ours is the extract stage: the whole clip at {frames.fps:g} frames a second, as JPEGs in TFRecords"
    add("speed", f"decode: {view} against extraction, 1 worker", "one", "plain", f"{whole}; done once, not every epoch")
    add("speed", f"decode: {view} against extraction, {WORKERS} workers", "two", "plain", whole)
    add("speed", f"decode: {view} for a later epoch", "later", "plain", "ours: a training view out of the records")
    add("speed", f"extraction: 1 worker over {WORKERS}", "two", "one", "the plain column is ours with 1 worker")
    limit = "limit: every frame grabbed, those needed retrieved, on one core"
    add("limit", "extraction, 1 worker", "one", "grabbed", limit)
    add("limit", "extraction, 1 worker", "one", "read", "limit: every frame read, on one core")


def add_codec_rows(bench: Bench, params: Params, clips: Path, folder: Path) -> None:
    """Extraction of the same few clips in each codec, against a loop that reads every frame of them."""
    paths = sorted(clips / clip.source for clip in folder_clips(str(clips)).clips)
    spaced = paths[:: max(1, len(paths) // CODEC_CLIPS)][:CODEC_CLIPS]
    for title, files in bench.ours.run(codecs.encode_again, spaced, folder).items():
        ways = {"ours": partial(bench.ours.run, codecs.extract_each, files, params.frames)}
        readable = bench.ours.run(plain.can_read, str(files[0]))
        if readable:
            ways["read"] = partial(bench.ours.run, plain.read_bare, [str(file) for file in files], None)
        found, _ = bench.compare(f"codec {title}", **ways)
        note = "one process; limit: every frame read, on one core" if readable else "one process; OpenCV cannot read this codec"
        row = Row("codecs", "limit" if readable else "time", f"extraction, {title}", "a clip", found["ours"])
        bench.rows.append(replace(row, other=found.get("read", ()), measured=f"{len(files)} clips", note=note))


def _add_arithmetic(bench: Bench, what: str, seconds: tuple[float, ...], gflop: float, rates: tuple[float, ...]) -> None:
    note = f"about {gflop:.3g} GFLOP; matrix product at {np.median(rates) / 1e9:.0f} GFLOP/s"
    limit = tuple(1e9 * gflop / rate for rate in rates)
    bench.rows.append(Row("arithmetic", "limit", f"{what}, arithmetic alone", "a call", seconds, limit, note=note))


def add_forward_rows(bench: Bench, model: str, frames: int, size: int | None) -> None:
    """A forward pass of a network, stock against fast and against the engine of frozen networks, and its arithmetic."""
    load = networks.Load(model, FORWARD_BATCH[model], frames, size or VARIANTS[model].resolution)
    found, first = bench.compare(
        f"forward {load}",
        stock=partial(bench.plain.run, networks.forward, load, "stock"),
        fast=partial(bench.ours.run, networks.forward, load, "fast"),
        frozen=partial(bench.ours.run, networks.frozen_forward, load, "openvino"),
        product=partial(bench.ours.run, product_rate),
    )
    stock, fast = bench.plain.run(networks.logits, load, "stock"), bench.ours.run(networks.logits, load, "fast")
    difference = f"logits differ by {np.abs(stock - fast).max() / np.abs(stock).max():.0e} of the largest"
    note = f"{difference}; not counted: first calls, {first['stock']:.0f} s and ours {first['fast']:.0f} s"
    bench.rows.append(Row("forward", "speed", f"forward {load}", "a batch", found["fast"], found["stock"], note=note))
    _add_arithmetic(bench, f"forward {load}", found["fast"], load.gflop, found["product"])
    note = f"OpenVINO, the backbone alone; not counted: first call {first['frozen']:.0f} s"
    bench.rows.append(Row("forward", "speed", f"forward {load}, frozen", "a batch", found["frozen"], found["stock"], note=note))
    _add_arithmetic(bench, f"forward {load}, frozen", found["frozen"], load.gflop, found["product"])


def add_engine_rows(bench: Bench, model: str, frames: int, size: int | None) -> None:
    """A forward pass of a frozen backbone in both engines, and the arithmetic of each."""
    variant = VARIANTS[model]
    load = networks.Load(model, FORWARD_BATCH[variant.family], frames, size or variant.resolution)
    found, _ = bench.compare(
        f"engines {load}",
        tensorflow=partial(bench.ours.run, networks.frozen_forward, load, "tensorflow"),
        openvino=partial(bench.ours.run, networks.frozen_forward, load, "openvino"),
        product=partial(bench.ours.run, product_rate),
    )
    difference = bench.ours.run(networks.engine_difference, load)
    note = f"the plain column is TensorFlow with 2D convolutions; features differ by {difference:.0e} of the largest"
    what = f"frozen {load}, OpenVINO"
    bench.rows.append(Row("engines", "speed", what, "a batch", found["openvino"], found["tensorflow"], note=note))
    _add_arithmetic(bench, f"frozen {load}, TensorFlow", found["tensorflow"], load.gflop, found["product"])
    _add_arithmetic(bench, what, found["openvino"], load.gflop, found["product"])


def add_step_rows(bench: Bench, model: str, frames: int, sizes: Sequence[int], finetune: Finetune) -> None:
    """A training step of the whole network, batch norm included, stock against fast, at each of the sizes."""
    for size in sizes:
        load = networks.Load(model, STEP_BATCH[model], frames, size)
        found, first = bench.compare(
            f"step {load}",
            stock=partial(bench.plain.run, networks.step, load, "stock", None),
            fast=partial(bench.ours.run, networks.step, load, "fast", finetune),
            product=partial(bench.ours.run, product_rate),
        )
        note = f"forward, backward, update; not counted: first calls, {first['stock']:.0f} s and ours {first['fast']:.0f} s"
        what = f"training step {load}"
        bench.rows.append(Row("step", "speed", what, "a step", found["fast"], found["stock"], note=note))
        _add_arithmetic(bench, what, found["fast"], BACKWARD * load.gflop, found["product"])


def add_head_row(bench: Bench, params: Params) -> None:
    """An epoch of a head on cached features: Keras's `fit` against this pipeline's graph."""
    model, finetune = params.model, params.finetune.model_copy(update={"epochs": HEAD_EPOCHS})
    found, _ = bench.compare(
        f"head {model.id}",
        fit=partial(bench.plain.run, heads.fit, model, finetune),
        graph=partial(bench.ours.run, heads.graph, model, finetune),
    )
    rate = heads.VIEWS / np.median(found["graph"])
    note = f"Keras's fit, same updates; {heads.VIEWS} views in batches of {finetune.batch_size}; ours: {rate:,.0f} views a second"
    what = f"head of {model.id} on cached features"
    bench.rows.append(Row("head", "speed", what, "an epoch", found["graph"], found["fit"], note=note))


def add_input_row(bench: Bench, params: Params, folder: Path) -> None:
    """What a training step waits for its batch, over what the step takes: how far reading starves training."""
    say(f"input: an epoch of training steps of {params.model.id}, fed from the records")
    bench.ours.run(ours.place_clips, params, folder)
    bench.ours.run(ours.extract_clips, params, folder)
    found, _ = bench.compare("input", ours=partial(bench.ours.run, ours.input_wait, params, folder))
    waits, steps = zip(*found["ours"], strict=True)
    batch = f"{params.finetune.batch_size} x {params.frames.count} x {params.frames.size} px"
    note = f"during a step of {np.median(steps):.3g} s, the next batch is read"
    bench.rows.append(Row("input", "time", f"wait for a batch, {params.model.id}, {batch}", "a step", waits, note=note))
