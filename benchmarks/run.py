"""Measures this pipeline beside the plain way, in turn, on the same clips and weights.

The plain way is the shape of the MoViNet tutorials: a generator that decodes every clip anew every epoch, the Model Garden's own
convolutions, `fit`, `evaluate`, `predict`. Both ways run in child processes of this one, one at a time, round after round, so
that a busy machine slows both alike; every ratio is of two times of one round. Where only part of the plain way is run, the table
says how much. Written: benchmark.json, .csv and .md, or with --growth benchmark_growth.json, .csv, .md and .png.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import growth, job, sections, table
from benchmarks.clips import repeated, synthesise
from benchmarks.machine import describe_machine
from benchmarks.ours import found_weights, prepare
from benchmarks.settings import job_params, split_scheme
from benchmarks.workers import both, two_sides
from pipeline.arguments import among, at_least, listed, positive
from pipeline.console import STARTS_OVER, UserError, run_command, say
from pipeline.models.movinet.network.variants import BASE_IDS, MODEL_IDS
from pipeline.sources.folders import folder_clips

ROWS = ("decode", "forward", "stream", "step", "input", "job")
JOB_CLIPS = 300  # of the job; fewer are repeated, as are fewer than DECODE_CLIPS for decoding
FULL = {"models": BASE_IDS, "rows": ROWS, "repeats": 3, "seconds": 300.0, "steps": 0}
# The training step is left out, as compiling the stock one takes a minute by itself.
QUICK = {"models": ("a0",), "rows": ("decode", "forward", "job"), "repeats": 1, "seconds": 20.0, "steps": 1, "size": 64}
CLIPS = {True: 20, False: 40}  # made up where none are given: quick, full
DECODE_CLIPS = 60
FRAMES = 8
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
    add("--clips", type=Path, help="folder of <class>/<video> or of UCF-101's names (default: clips made up, 40, quick 20)")
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
    compared = set(options.rows) & {"forward", "step", "stream"} or options.growth
    others = [model for model in options.models if model not in BASE_IDS]
    if compared and others:
        raise UserError(
            f"--models {','.join(others)}: only base networks ({', '.join(BASE_IDS)}) have the 3D convolutions that forward, "
            "step and growth compare; the stream networks' times are --rows stream, and any network can do --rows decode,job"
        )
    if options.clips is not None and not options.clips.is_dir():
        raise UserError(f"--clips {options.clips}: no such folder; give one of <class>/<video>")


def _step_sizes(model: str, options: argparse.Namespace) -> list[int]:
    if options.size:
        return [options.size]
    return [sections.STEP_SIZE, 172] if model == "a0" and not options.quick else [sections.STEP_SIZE]


def _enough(clips: Path, count: int, target: Path) -> Path:
    """`clips`, or where they are fewer than `count`, the folder `target` in which they are repeated."""
    return clips if len(folder_clips(str(clips)).clips) >= count else repeated(clips, count, target)


def _measure(options: argparse.Namespace, clips: Path, work: Path, machine: dict, command: str) -> str:
    """All rows, saved after each part; returns the table."""
    few, many = _enough(clips, DECODE_CLIPS, work / "few"), _enough(clips, options.job_clips, work / "many")
    settings = {"count": options.frames, "size": options.size, "scheme": split_scheme(clips)}
    rows, facts, text = [], {}, ""
    for model in options.models:
        with ExitStack() as stack:
            first = model == options.models[0]
            parts = [part for part in options.rows if first or part not in ("decode", "input", "job")]
            if not parts:
                continue
            plain, ours = stack.enter_context(two_sides())
            bench = sections.Bench(plain, ours, options.repeats, options.seconds, rows, facts)
            both((plain, _import_networks), (ours, _import_networks))
            params = job_params(few, model=model, weights="random", **settings)
            for part in parts:
                if part == "decode":
                    sections.decode_rows(bench, params, work / "decode", prepare(params, work / "decode"))
                elif part == "input":
                    prepare(params, work / "input")
                    sections.wait_row(bench, params, work / "input")
                elif part == "forward":
                    sections.forward_rows(bench, model, options.frames, options.size)
                elif part == "stream":
                    sections.stream_row(bench, model, options.frames, options.size)
                elif part == "step":
                    sections.step_rows(bench, model, options.frames, _step_sizes(model, options), params)
                else:
                    weights = ours.run(found_weights, options.weights, model)
                    whole = job_params(many, model=model, weights=weights, **settings)
                    job.job_rows(bench, whole, work / "job", prepare(whole, work / "job"), options.steps, not options.quick)
                text = table.save(options.out, rows, machine, command, facts)
    return text


def _import_networks() -> None:
    import pipeline.models.movinet.network.classifier  # noqa: F401


def _grow(options: argparse.Namespace, clips: Path, work: Path, machine: dict, command: str) -> str:
    points = growth.measure_growth(
        clips,
        work,
        sizes=options.sizes,
        models=options.models,
        model_clips=MODEL_CLIPS,
        count=options.frames,
        size=options.size,
    )
    return growth.save(options.out, points, machine, command)


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it; returns the table. Raises UserError for options that do not go together."""
    _check(options)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        clips, work = options.clips, Path(folder) / "work"
        work.mkdir()
        if clips is None:
            clips = synthesise(Path(folder) / "clips", CLIPS[options.quick])
        measure = _grow if options.growth else _measure
        return measure(options, clips.resolve(), work, machine, command)


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
