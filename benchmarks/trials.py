"""A further trial of a top by `dvc exp run`, as a user starts it: frames and features are cached, the later stages run.

In a clone of the committed code, with DVC's start, its checksums, the four stages and MLflow. The setting that changes is the
level of `unknown`: it changes the classifier's decision, not the time that fitting it takes.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.repository import clone_environment, clone_repository
from benchmarks.table import Row
from pipeline.console import UserError, progress

CHANGED = "finetune.unknown.level"


class Cost(NamedTuple):
    """seconds: by the clock. processor: seconds of all cores."""

    seconds: float
    processor: float


def run_trial(repository: Path, settings: list[str]) -> Cost:
    """Runs an experiment with the settings in the clone. Raises UserError with the end of its output if it fails."""
    command = [sys.executable, "-m", "dvc", "exp", "run", *(part for one in settings for part in ("-S", one))]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=repository, env=clone_environment(), capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError(f"the trial failed: {(done.stdout + done.stderr)[-1500:]}")
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure_trials(clips: Path, model: str, weights: str, frames: int, size: int | None, rounds: int, folder: Path) -> list[Row]:
    """Rows of the clock and of the processor, after a first trial that is not counted.

    clips: folder of `<class>/<video>`. weights, frames, size: of the model and of views; size None: the model's own.
    """
    repository = clone_repository(folder / "repository")
    settings = [
        "data=folder",
        f"data.folder={clips}",
        "data.split.duplicates=ignore",
        f"model={model}",
        f"model.weights={weights}",
    ]
    settings += ["finetune=probe", f"frames.count={frames}", *([] if size is None else [f"frames.size={size}"])]
    run_trial(repository, settings)
    levels = [0.94 - 0.01 * number for number in range(rounds)]
    costs = [
        run_trial(repository, [*settings, f"{CHANGED}={level:.2f}"])
        for level in progress(levels, describe="warm trials", unit="trial")
    ]
    what = f"a further trial of a probe on {model}: dvc exp run -S {CHANGED}=..."
    return [
        Row("trial", "time", what, "a trial", tuple(cost.seconds for cost in costs)),
        Row("trial", "time", f"{what}, all processors", "a trial", tuple(cost.processor for cost in costs)),
    ]
