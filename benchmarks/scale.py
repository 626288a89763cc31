"""What each stage costs as a data set grows: processor time, peak memory and disk, in a clone of the repository.

Every clip is a file of its own (copies of rendered clips with other bytes at their end), so that no cache, link or check for
duplicates makes many clips cheaper than they are. Each stage is a process, as DVC runs it; then DVC itself takes in the outputs.
Written: scale.json, .csv and .md.
"""

import argparse
import itertools
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.clips import render_clips
from benchmarks.configuration import CONF
from benchmarks.repository import clone_environment, clone_repository
from benchmarks.table import bytes_in, describe_machine, number, save, table
from pipeline.arguments import at_least, listed
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.files import write_text
from pipeline.models.movinet.network.variants import MODEL_IDS
from pipeline.sources.folders import folder_clips

# The second embed finds every feature in the cache.
STEPS = {
    "download": "stages.download",
    "extract": "stages.extract",
    "embed": "stages.embed",
    "embed, cached": "stages.embed",
    "finetune": "stages.finetune",
    "evaluate": "stages.evaluate",
    "export": "stages.export",
    "report": "stages.report",
    "dvc commit": "dvc commit --force",
    "dvc status": "dvc status",
}
MADE = ("data", "models", "results", "mlartifacts", "mlflow.db", ".cache", ".dvc/cache")
RENDERED = 20
GROUPS = 25  # of a class, as UCF-101
SAMPLING = 0.2  # seconds between two readings of the memory


@dataclass(frozen=True)
class Point:
    """A step at one number of clips. Seconds; bytes: `memory` of all its processes together, `disk` that it added."""

    clips: int
    classes: int
    step: str
    cpu: float
    wall: float
    memory: int
    disk: int


def distinct_clips(folder: Path, count: int, classes: int, target: Path) -> Path:
    """Copies `count` clips into `target`, each with bytes of its own after its end; returns `target`.

    Classes have as many clips as each other, of GROUPS groups, in UCF-101's names.
    """
    sources = [folder / clip.source for clip in folder_clips(str(folder)).clips]
    for index, source in zip(range(count), itertools.cycle(sources), strict=False):
        name, rank = f"Class{index % classes:03d}", index // classes
        path = target / name / f"v_{name}_g{1 + rank % GROUPS:02d}_c{1 + rank // GROUPS:02d}{source.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes() + index.to_bytes(8, "big"))
    return target


def write_params(repository: Path, clips: Path, options: argparse.Namespace) -> None:
    """params.yaml of a probe on the folder `clips`, with random weights."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    settings = ["data=folder", f"data.folder={clips}", "data.split.duplicates=ignore", f"model={options.model}"]
    settings += ["model.weights=random", f"frames.count={options.frames}"]
    settings += [*([] if options.size is None else [f"frames.size={options.size}"]), *options.overrides]
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", overrides=settings)
    write_text(repository / "params.yaml", OmegaConf.to_yaml(config, resolve=True))


def _tree(process: psutil.Process) -> tuple[int, dict[int, float]]:
    """Memory in bytes of a process and its children, and the processor seconds of each by process id."""
    memory, seconds = 0, {}
    for one in [process, *process.children(recursive=True)]:
        try:
            memory += one.memory_info().rss
            seconds[one.pid] = sum(one.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return memory, seconds


def run_step(words: Sequence[str], repository: Path) -> tuple[float, float, int]:
    """Runs `python -m words` there; returns processor seconds, elapsed seconds, and the peak of the memory in bytes.

    Processor time is read while the processes live: joblib's, which outlive the work, would not be counted at their end.
    Raises UserError with the end of the output if it fails.
    """
    started, peak, seconds = time.perf_counter(), 0, {}
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", *words]
        with subprocess.Popen(command, cwd=repository, env=clone_environment(), stdout=output, stderr=output) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    memory, each = _tree(watched)
                except psutil.NoSuchProcess:
                    break
                peak, seconds = max(peak, memory), seconds | each
                time.sleep(SAMPLING)
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")[-1500:]
            raise UserError(f"{shlex.join(words)} failed: {said}")
    return sum(seconds.values()), time.perf_counter() - started, peak


def measure_point(source: Path, folder: Path, count: int, options: argparse.Namespace) -> list[Point]:
    """The steps on `count` clips, in a clone of the committed code in `folder`."""
    repository = clone_repository(folder / "repository")
    classes = min(options.classes, count // 10)
    clips = distinct_clips(source, count, classes, folder / "clips")
    write_params(repository, clips, options)
    points, disk = [], 0
    steps = list(STEPS)
    steps = steps[: steps.index(options.until) + 1]
    for step in progress(steps, describe=f"{count:,} clips", unit="step"):
        cpu, wall, memory = run_step(STEPS[step].split(), repository)
        before, disk = disk, sum(bytes_in(repository / made) for made in MADE)
        points.append(Point(count, classes, step, cpu, wall, memory, disk - before))
        used = f"{number(cpu)} CPU-seconds in {number(wall)} s, {memory / 1e9:.2f} GB of memory"
        say(f"{count:,} clips: {step} {used}, {(disk - before) / 1e9:.3f} GB")
    return points


def lines_of(points: Sequence[Point]) -> list[str]:
    cells = [
        {"clips": f"{one.clips:,}", "classes": str(one.classes), "step": one.step}
        | {"seconds": number(one.wall), "CPU-seconds": number(one.cpu), "CPU-ms a clip": number(1000 * one.cpu / one.clips)}
        | {"memory, GB": f"{one.memory / 1e9:.2f}", "disk added, GB": f"{one.disk / 1e9:.3f}"}
        for one in points
    ]
    return ["Imports and the start of each process are counted. Memory: of all processes of a step together.", "", *table(cells)]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.epilog = "--clips 20000 --size 32 --frames 2 --seconds 1 finds what many entries cost without large videos."
    add = parser.add_argument
    add("--clips", type=listed(at_least(50)), default=(50, 500), help="numbers of clips (default: 50,500)")
    add(
        "--classes", type=at_least(2), default=100, help="at most; fewer where a class would have under 10 (default: %(default)s)"
    )
    add("--model", choices=MODEL_IDS, default="a0", help="(default: %(default)s)")
    add("--frames", type=at_least(1), default=16, help="of a view (default: %(default)s)")
    add("--size", type=at_least(32), help="pixels of a side (default: the model's own)")
    add("--seconds", type=at_least(1), default=6, help="of a clip (default: %(default)s)")
    add("--height", type=at_least(32), default=240, help="of a clip, pixels; it is 4:3 (default: %(default)s)")
    add("--until", choices=STEPS, default=list(STEPS)[-1], help="the last step (default: all)")
    add("--out", type=Path, default=Path("results"), help="folder for the results (default: %(default)s)")
    add("overrides", nargs="*", help="of the configuration, such as cluster=dask cluster.workers=2")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it, again after each number of clips; returns the table."""
    about = {"command": command, "machine": describe_machine()}
    points: list[Point] = []
    text = ""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        size = (options.height * 4 // 3, options.height)
        source = render_clips(Path(folder) / "rendered", RENDERED, size=size, seconds=(options.seconds, options.seconds))
        for count in sorted(options.clips):
            work = Path(folder) / str(count)
            points += measure_point(source, work, count, options)
            shutil.rmtree(work)
            text = save(options.out, "scale", [asdict(point) for point in points], about, lines_of(points))
    return text


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.scale", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
