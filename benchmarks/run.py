"""Measures this pipeline against the plain way, alternating, on the same clips and weights.

The plain way is the shape of the MoViNet tutorials: a generator that decodes every clip again every epoch, the Model Garden's own
convolutions, `fit`, `evaluate`, `predict`. Each way runs in a child process of this one, one at a time, round after round, so
that a busy machine slows both alike; every ratio is of two times of one round. Where only part of the plain way is run, the table
says how much. Written: benchmark.json, .csv and .md, or with --growth benchmark_growth.json, .csv, .md and .png.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import growth, rows, trials
from benchmarks.clips import render_clips, repeat_clips
from benchmarks.configuration import compose_job
from benchmarks.job import add_job_rows
from benchmarks.ours import locate_weights
from benchmarks.table import describe_machine, save_comparisons
from benchmarks.workers import ChildProcess
from pipeline.arguments import among, at_least, listed, positive
from pipeline.console import STARTS_OVER, UserError, run_command, say
from pipeline.models.movinet.network.variants import BASE_IDS, MODEL_IDS
from pipeline.sources.folders import folder_clips

ROWS = ("decode", "codecs", "forward", "engines", "step", "head", "input", "job", "trial")
OF_EVERY_MODEL = ("forward", "engines", "step")
OF_BASE_MODELS = ("forward", "step")  # the others are of the first
JOB_CLIPS = 300  # of the job; fewer are repeated, as are fewer than DECODE_CLIPS for decoding
FULL = {"models": BASE_IDS, "rows": ROWS, "repeats": 3, "seconds": 300.0, "steps": 0}
# The training step is left out, as compiling the stock one takes a minute by itself.
QUICK = {"models": ("a0",), "rows": ("decode", "forward", "head", "job"), "repeats": 1, "seconds": 20.0, "steps": 1, "size": 64}
RENDERED = {True: 20, False: 40}  # clips where none are given: quick, full
DECODE_CLIPS = 60
FRAMES = 8
STEP_SIZE = 64  # pixels; stock steps at native sizes take minutes each
GROWTH_SIZES = (50, 500, 5000)
MODEL_CLIPS = 20
RESULTS = Path("results")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(listed(at_least(20))(text)))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; what is not given is set as --quick, or its absence, has it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.epilog = "Full: about an hour on two cores, most of it the plain way's. Leave the machine alone meanwhile."
    add = parser.add_argument
    add("--quick", action="store_true", help="a0 only, at 64 pixels, one round, one of the plain way's steps: some two minutes")
    add("--rows", type=listed(among(ROWS)), help=f"what to measure, of {','.join(ROWS)}")
    add("--models", type=listed(among(MODEL_IDS)), help="networks, e.g. a0,a3; the first one does the job (default: a0 to a5)")
    add("--repeats", type=at_least(1), help="rounds of each comparison (default: 3, quick 1)")
    add("--seconds", type=positive, help="no further round of a comparison begins after these (default: 300, quick 20)")
    add("--steps", type=at_least(0), help="steps of the plain way's job that are run; 0 = all (default: all, quick 1)")
    add("--clips", type=Path, help="folder of <class>/<video> or of UCF-101's names (default: rendered clips, 40, quick 20)")
    add("--job-clips", type=at_least(1), default=JOB_CLIPS, help="the job repeats clips up to as many (default: %(default)s)")
    add("--weights", default="random", help="of the job's network, as model.weights (default: %(default)s)")
    add("--frames", type=at_least(1), default=FRAMES, help="frames of a view (default: %(default)s)")
    add("--size", type=at_least(32), help="pixels of a side, of everything (default: each network's own, steps and quick 64)")
    add("--growth", action="store_true", help="instead: the cost of more clips (first network) and of larger networks")
    add("--sizes", type=_sizes, default=GROWTH_SIZES, help="numbers of clips for --growth (default: 50,500,5000)")
    add("--out", type=Path, default=RESULTS, help="folder for the results (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _check(options: argparse.Namespace) -> None:
    others = [model for model in options.models if model not in BASE_IDS]
    if others and not options.growth and set(options.rows) & set(OF_BASE_MODELS):
        raise UserError(
            f"--models {','.join(others)}: forward and step compare 3D convolutions, which only base networks have",
            advice=f"choose from {','.join(BASE_IDS)}, or measure --rows decode,engines,input,job, or use benchmarks.latency",
        )
    if options.clips is not None and not options.clips.is_dir():
        raise UserError(f"--clips {options.clips}: no such folder", advice="give one of <class>/<video>")


def _enough(clips: Path, count: int, target: Path) -> Path:
    """`clips`, or where they are fewer than `count`, the folder `target` in which they are repeated."""
    return clips if len(folder_clips(str(clips)).clips) >= count else repeat_clips(clips, count, target)


def _compare(options: argparse.Namespace, clips: Path, work: Path, about: dict) -> str:
    """All rows, saved after each part; returns the tables."""
    few, many = _enough(clips, DECODE_CLIPS, work / "few"), _enough(clips, options.job_clips, work / "many")
    view = {"count": options.frames, "size": options.size}
    found, facts, text = [], {}, ""
    for model in options.models:
        chosen = [row for row in options.rows if row in OF_EVERY_MODEL or model == options.models[0]]
        if not chosen:
            break
        with ChildProcess("the plain way") as plain, ChildProcess("this pipeline") as ours:
            bench = rows.Bench(plain, ours, options.repeats, options.seconds, found, facts)
            for child in (plain, ours):
                child.run(growth.import_networks)
            params = compose_job(few, model=model, weights="random", **view)
            for row in chosen:
                if row == "decode":
                    rows.add_decode_rows(bench, params, work / row)
                elif row == "codecs":
                    rows.add_codec_rows(bench, params, few, work / row)
                elif row == "forward":
                    rows.add_forward_rows(bench, model, options.frames, options.size)
                elif row == "engines":
                    rows.add_engine_rows(bench, model, options.frames, options.size)
                elif row == "step":
                    native = (172,) if model == "a0" and not options.quick else ()
                    sizes = (options.size,) if options.size else (STEP_SIZE, *native)
                    rows.add_step_rows(bench, model, options.frames, sizes, params.finetune)
                elif row == "head":
                    rows.add_head_row(bench, params)
                elif row == "input":
                    rows.add_input_row(bench, params, work / row)
                elif row == "trial":
                    folder = work / row
                    folder.mkdir()
                    found += trials.measure_trials(
                        few, model, options.weights, options.frames, options.size, options.repeats, folder
                    )
                else:
                    weights = ours.run(locate_weights, options.weights, model, work)
                    job = compose_job(many, model=model, weights=weights, **view)
                    add_job_rows(bench, job, work / row, options.steps, accuracy=not options.quick, weights=options.weights)
                text = save_comparisons(options.out, found, about, facts)
    return text


def _grow(options: argparse.Namespace, clips: Path, work: Path, about: dict) -> str:
    view = {"count": options.frames, "size": options.size}
    plan = {"sizes": options.sizes, "models": options.models, "model_clips": MODEL_CLIPS}
    return growth.save_growth(options.out, growth.measure_growth(clips, work, **plan, **view), about)


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it; returns the tables.

    Raises:
      UserError: options that do not go together.
    """
    _check(options)
    about = {"command": command, "machine": describe_machine()}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        clips, work = options.clips, Path(folder) / "work"
        work.mkdir()
        if clips is None:
            clips = render_clips(Path(folder) / "clips", RENDERED[options.quick])
        return (_grow if options.growth else _compare)(options, clips.resolve(), work, about)


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
