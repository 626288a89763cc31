"""What the work costs as it grows: time, memory and disk for more clips, and for larger networks.

Every point has a process of its own, whose memory, with that of its decoding processes, is looked at while it works. Shared pages
count once for each process that has them, and files that are mapped count too: the true peak is lower.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks import ours as our_stages
from benchmarks.clips import repeated
from benchmarks.limits import forward_flops
from benchmarks.machine import machine_line
from benchmarks.networks import Load
from benchmarks.settings import job_params, split_scheme
from benchmarks.workers import Side, one_side
from pipeline.console import UserError, progress, say
from pipeline.files import atomic_file, write_json
from pipeline.models.movinet.network.variants import VARIANTS

STAGES = ("extract", "embed", "head")
BYTES_A_CLIP = 400_000  # of disk, at 172 pixels and 5 frames a second; a larger frame takes more in proportion to its area


@dataclass(frozen=True)
class Point:
    """One amount of work. Seconds of each stage, imports not counted; the largest memory and the disk, in bytes."""

    growing: str  # "clips" or "model"
    model: str
    clips: int
    gflop_a_clip: float
    import_seconds: float
    extract: float
    embed: float
    head: float
    memory: int
    disk: int

    @property
    def seconds(self) -> float:
        return self.extract + self.embed + self.head


def _import() -> float:
    """Seconds to import what the stages import late; what it takes is the same however much work there is."""
    import time

    start = time.perf_counter()
    import pipeline.models.movinet.network.classifier
    import pipeline.training.loop  # noqa: F401

    return time.perf_counter() - start


def _gflop_a_clip(model: str, count: int, size: int) -> float:
    return forward_flops(Load(model, 1, count, size)) / 1e9


def _head(params, work: Path) -> float:
    parts = our_stages.train_and_evaluate(params, work)
    return parts["finetune"] + parts["evaluate"]


def _measure(side: Side, params, work: Path) -> tuple[dict[str, float], int]:
    """Seconds of each stage and the largest memory."""
    seconds, peaks = {}, []
    for name, stage in zip(STAGES, (our_stages.extract_clips, our_stages.embed_clips, _head), strict=True):
        seconds[name], peak = side.run_watched(stage, params, work)
        peaks.append(peak)
    return seconds, max(peaks)


def _check_disk(folder: Path, clips: int, size: int) -> None:
    needed = int(clips * BYTES_A_CLIP * (size / 172) ** 2)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {clips} clips need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; set TMPDIR to a "
            "larger disk, or ask for fewer clips (--sizes)"
        )


def _point(growing: str, model: str, clips: int, source: Path, folder: Path, count: int, size: int | None) -> Point:
    _check_disk(folder, clips, size or VARIANTS[model].resolution)
    work = folder / f"{growing}-{model}-{clips}"
    named = repeated(source, clips, work / "named")
    params = job_params(named, model=model, weights="random", count=count, size=size, scheme=split_scheme(named))
    with one_side(f"{clips} clips with {model}") as side:
        imports = side.run(_import)
        our_stages.prepare(params, work)
        seconds, memory = _measure(side, params, work)
    with one_side(f"the arithmetic of {model}") as side:
        gflop = side.run(_gflop_a_clip, model, count, params.frames.size)
    made = (our_stages.FRAMES, our_stages.EMBEDDINGS, our_stages.CLASSIFIER)
    disk = sum(our_stages.bytes_in(work / name) for name in made)
    shutil.rmtree(work)
    return Point(growing, model, clips, gflop, imports, **seconds, memory=memory, disk=disk)


def measure_growth(
    source: Path, folder: Path, *, sizes: Sequence[int], models: Sequence[str], model_clips: int, count: int, size: int | None
) -> list[Point]:
    """Extract, embed and a head on each number of clips with the first model, then on `model_clips` clips with each model.

    Args:
      source: the clips, repeated as often as is needed.
      folder: for what is made; emptied after each point.
    """
    plan = [("clips", models[0], clips) for clips in sizes] + [("model", model, model_clips) for model in models]
    points = []
    for growing, model, clips in progress(plan, describe="growth", unit="point"):
        say(f"growth: {clips} clips with {model}")
        points.append(_point(growing, model, clips, source, folder, count, size))
    return points


def draw(points: Sequence[Point], path: Path) -> None:
    """Time, memory and disk against clips and against arithmetic, all axes logarithmic, with a line of slope 1."""
    from matplotlib.figure import Figure

    quantities = {"seconds": "seconds", "memory": "peak memory, GB", "disk": "disk, GB"}
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, len(quantities), squeeze=False)
    across = {"clips": ("clips", "clips"), "model": ("gflop_a_clip", "GFLOP a clip")}
    for row, (growing, (attribute, label)) in zip(axes, across.items(), strict=True):
        chosen = sorted((point for point in points if point.growing == growing), key=lambda point: getattr(point, attribute))
        xs = [getattr(point, attribute) for point in chosen]
        for axis, (name, title) in zip(row, quantities.items(), strict=True):
            scale = 1 if name == "seconds" else 1e-9
            ys = [getattr(point, name) * scale for point in chosen]
            axis.loglog(xs, ys, marker="o", label="together" if name == "seconds" else None)
            if name == "seconds":
                for stage in STAGES:
                    axis.loglog(xs, [getattr(point, stage) for point in chosen], marker=".", linewidth=0.8, label=stage)
            if xs:
                axis.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], linestyle=":", color="grey", label="linear")
            for point, x, y in zip(chosen, xs, ys, strict=True):
                name_of_point = point.model if growing == "model" else f"{point.clips:,}"
                axis.annotate(name_of_point, (x, y), (-4, 5), textcoords="offset points", ha="right", fontsize=8)
            axis.margins(0.1)
            axis.set_xlabel(label)
            axis.set_ylabel(title)
            axis.grid(True, which="both", alpha=0.2)
        row[0].legend(fontsize=8)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=120, format="png")


def markdown(points: Sequence[Point], machine: dict, command: str) -> str:
    lines = [f"`{command}`", "", f"Measured on {machine_line(machine)}. Seconds without imports.", ""]
    names = ["model", "clips", "GFLOP a clip", *STAGES, "together, s", "s a clip", "peak memory, GB", "disk, GB"]
    lines += [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for point in points:
        cells = [point.model, f"{point.clips:,}", f"{point.gflop_a_clip:.2f}"]
        cells += [f"{getattr(point, stage):.1f}" for stage in STAGES]
        cells += [f"{point.seconds:.1f}", f"{point.seconds / point.clips:.3f}"]
        cells += [f"{point.memory / 1e9:.2f}", f"{point.disk / 1e9:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def save(folder: Path, points: Sequence[Point], machine: dict, command: str) -> str:
    """Writes benchmark_growth.json, .csv, .md and .png to `folder`; returns the Markdown."""
    rows = [asdict(point) | {"seconds": point.seconds} for point in points]
    write_json(folder / "benchmark_growth.json", {"command": command, "machine": machine, "points": rows})
    with atomic_file(folder / "benchmark_growth.csv") as part:
        pd.DataFrame(rows).to_csv(part, index=False)
    draw(points, folder / "benchmark_growth.png")
    text = markdown(points, machine, command)
    with atomic_file(folder / "benchmark_growth.md") as part:
        part.write_text(text, encoding="utf-8")
    return text
