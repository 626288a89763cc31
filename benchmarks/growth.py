"""What the work costs as it grows: time, memory and disk for more clips, and for larger networks.

Every point has a process of its own, whose memory, with that of its decoding processes, is read while it works. Shared pages
count once for each process that has them, and files that are mapped count too: the true peak is lower.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks import ours
from benchmarks.clips import repeat_clips
from benchmarks.configuration import compose_job
from benchmarks.networks import Load
from benchmarks.table import bytes_in, save, table
from benchmarks.workers import ChildProcess
from pipeline.console import progress, say
from pipeline.files import atomic_file
from pipeline.params import Params

STAGES = ("extract", "embed", "head")


@dataclass(frozen=True)
class Point:
    """One amount of work. Seconds of each stage, imports not counted; the largest memory and the disk, in bytes."""

    growing: str  # "clips" or "model"
    model: str
    clips: int
    gflop_a_clip: float
    extract: float
    embed: float
    head: float
    memory: int
    disk: int

    @property
    def seconds(self) -> float:
        return self.extract + self.embed + self.head


def import_networks() -> None:
    """Imports what the stages import late, which takes as long however much work there is."""
    import pipeline.models.movinet.network.classifier
    import pipeline.training.loop  # noqa: F401


def _run_stages(params: Params, folder: Path) -> dict[str, float]:
    extracted, embedded = ours.extract_clips(params, folder), ours.embed_clips(params, folder)
    head = ours.train_and_evaluate(params, folder)
    return {"extract": extracted, "embed": embedded, "head": head["finetune"] + head["evaluate"]}


def _measure_point(growing: str, model: str, clips: int, source: Path, folder: Path, count: int, size: int | None) -> Point:
    work = folder / f"{growing}-{model}-{clips}"
    params = compose_job(repeat_clips(source, clips, work / "named"), model=model, weights="random", count=count, size=size)
    with ChildProcess(f"{clips} clips with {model}") as child:
        child.run(import_networks)
        child.run(ours.place_clips, params, work)
        seconds, memory = child.run_watched(_run_stages, params, work)
    disk = sum(bytes_in(work / made) for made in (ours.FRAMES, ours.EMBEDDINGS, ours.CLASSIFIER))
    shutil.rmtree(work)
    gflop = Load(model, 1, count, params.frames.size).gflop
    return Point(growing, model, clips, gflop, **seconds, memory=memory, disk=disk)


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
        points.append(_measure_point(growing, model, clips, source, folder, count, size))
    return points


def draw(points: Sequence[Point], path: Path) -> None:
    """Time, memory and disk against clips and against arithmetic, all axes logarithmic, with a line of slope 1."""
    from matplotlib.figure import Figure

    frame = pd.DataFrame([asdict(point) | {"together": point.seconds} for point in points])
    figure = Figure(figsize=(12, 7), layout="constrained")
    across = {"clips": ("clips", "clips"), "model": ("gflop_a_clip", "GFLOP a clip")}
    for (growing, (quantity, label)), axes in zip(across.items(), figure.subplots(2, 3), strict=True):
        chosen = frame[frame["growing"] == growing].set_index(quantity, drop=False).sort_index()
        drawn = {
            "seconds": chosen[["together", *STAGES]],
            "peak memory, GB": chosen["memory"] / 1e9,
            "disk, GB": chosen["disk"] / 1e9,
        }
        for axis, (title, values) in zip(axes, drawn.items(), strict=True):
            first = values.iloc[:, 0] if values.ndim > 1 else values
            values.plot(ax=axis, loglog=True, marker="o")
            (first.iloc[-1] * first.index.to_series() / first.index[-1]).plot(
                ax=axis, linestyle=":", color="grey", label="linear"
            )
            for x, y, name in zip(first.index, first, chosen[growing], strict=True):
                axis.annotate(
                    f"{name:,}" if growing == "clips" else name, (x, y), (-4, 5), textcoords="offset points", ha="right"
                )
            axis.margins(0.1)
            axis.set(xlabel=label, ylabel=title)
            axis.grid(True, which="both", alpha=0.2)
        axes[0].legend(fontsize=8)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=120, format="png")


def save_growth(folder: Path, points: Sequence[Point], about: dict) -> str:
    """Writes benchmark_growth.json, .csv, .md and .png to `folder`; returns the Markdown."""
    cells = [
        {"model": point.model, "clips": f"{point.clips:,}", "GFLOP a clip": f"{point.gflop_a_clip:.2f}"}
        | {stage: f"{getattr(point, stage):.1f}" for stage in STAGES}
        | {"together, s": f"{point.seconds:.1f}", "s a clip": f"{point.seconds / point.clips:.3f}"}
        | {"peak memory, GB": f"{point.memory / 1e9:.2f}", "disk, GB": f"{point.disk / 1e9:.3f}"}
        for point in points
    ]
    draw(points, folder / "benchmark_growth.png")
    rows = [asdict(point) | {"seconds": point.seconds} for point in points]
    return save(folder, "benchmark_growth", rows, about, ["Seconds without imports.", "", *table(cells)])
