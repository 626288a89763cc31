"""Measures this pipeline against the networks of other libraries: VideoMAE, MViT, S3D, R(2+1)D, X3D, and the MoViNet tutorial.

Every network has its published input, random weights, two threads and a process of its own; the networks alternate, round after
round. Needs an environment with PyTorch apart from this project's: `make versus`. Written: versus.json, .csv and .md.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.clips import render_clips
from benchmarks.table import describe_machine, save
from benchmarks.versus.others import BUILDERS, THREADS
from benchmarks.versus.ours import NETWORKS
from benchmarks.versus.published import PUBLISHED
from benchmarks.versus.results import Round, lines_of, parse_round, records, whole_rounds
from pipeline.arguments import among, at_least, listed
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.sources.folders import folder_clips

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = Path(".venv-versus/bin/python")
RENDERED = 15  # three groups a class: training, validation and test
NEEDED = "import av, pytorchvideo.models.x3d, torch, torchvision, transformers"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus.run", description=__doc__.splitlines()[0])
    parser.epilog = "A round takes about six minutes of processor time, most of it the tutorial's."
    add = parser.add_argument
    add("--networks", type=listed(among(tuple(PUBLISHED))), default=tuple(PUBLISHED), help=f"of {','.join(PUBLISHED)}")
    add("--rounds", type=at_least(1), default=3, help="(default: %(default)s)")
    add("--batch", type=at_least(1), default=1, help="clips of a step and of a forward pass (default: %(default)s)")
    add("--clips", type=Path, help=f"folder of <class>/<video> (default: {RENDERED} rendered clips)")
    add("--python", type=Path, default=PYTHON, help="the interpreter of the environment with PyTorch (default: %(default)s)")
    add("--out", type=Path, default=Path("results"), help="folder for the results (default: %(default)s)")
    return parser.parse_args(arguments)


def check_environment(python: Path) -> None:
    """Raises UserError unless `python` is an interpreter that has the packages of requirements.txt."""
    advice = "create it with `make versus`, or name another with --python"
    if not python.is_file():
        raise UserError(f"{python}: no such environment", advice=advice)
    done = subprocess.run([python, "-W", "ignore", "-c", NEEDED], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{python}: {(done.stderr.strip().splitlines() or ['does not run'])[-1]}", advice=advice)


def measure_round(name: str, batch: int, clips: Path, videos: Sequence[str], python: Path) -> Round:
    """One network in a process of its own. Raises UserError with the process's last line where it fails."""
    ours = name in NETWORKS
    command = [sys.executable if ours else str(python), "-W", "ignore", "-m", f"benchmarks.versus.{'ours' if ours else 'others'}"]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(THREADS))
    done = subprocess.run(
        [*command, name, str(batch), *([str(clips)] if ours else videos)],
        cwd=ROOT,
        env=os.environ | limits,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}, most likely for want of memory"])[-1]
        raise UserError(f"{name}: {last}", advice=f"leave it out with --networks, or run {shlex.join(command)}")
    return parse_round(done.stdout.strip().splitlines()[-1])


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it, again after each network; returns the tables."""
    if any(name in BUILDERS for name in options.networks):
        check_environment(options.python)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # OpenVINO takes all that it may
    about = {"command": command, "machine": describe_machine(), "batch": options.batch}
    found: dict[str, list[Round]] = {name: [] for name in options.networks}
    text = ""
    with tempfile.TemporaryDirectory(prefix="versus-") as folder:
        clips = (options.clips or render_clips(Path(folder) / "clips", RENDERED)).resolve()
        videos = [str(clips / clip.source) for clip in folder_clips(str(clips)).clips]
        with progress(total=options.rounds * len(found), describe="versus", unit="network") as bar:
            for _ in range(options.rounds):
                for name in found:
                    found[name].append(measure_round(name, options.batch, clips, videos, options.python.absolute()))
                    text = save(options.out, "versus", records(found), about, lines_of(whole_rounds(found), options.batch))
                    bar.update()
    return text


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.versus.run", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
