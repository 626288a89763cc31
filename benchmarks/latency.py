"""Times a frame of the stream networks on this machine, as TensorFlow Lite files and in TensorFlow, beside a phone's.

Networks of full size with random weights by default: what a frame costs does not depend on their values. All formats and numbers
of threads of one network take turns, so that a busy machine slows all alike. Not counted: decoding and resizing the frame.
Written: latency.json, latency.md and latency.png.
"""

import argparse
import importlib.metadata
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.stream_table import save
from benchmarks.streams import FORMATS, Latency, measure_streams, steps
from pipeline.arguments import among, at_least, listed
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.models.movinet.network.variants import VARIANTS

STREAMS = tuple(variant.id for variant in VARIANTS.values() if variant.stream)
MODELS = ("a0_stream", "a1_stream", "a2_stream")
THREADS = (1, 2)
SECONDS = 5.0
RESULTS = Path("results/latency")
LONGEST = 3600


def _seconds(text: str) -> float:
    """0 measures the fewest frames."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 to {LONGEST}")
    return value


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.splitlines()[0])
    parser.epilog = "About eight minutes on two cores, most of it making the files. Leave the machine alone meanwhile."
    add = parser.add_argument
    add("--models", type=listed(among(STREAMS)), default=MODELS, help=f"of {','.join(STREAMS)} (default: a0 to a2)")
    add("--formats", type=listed(among(FORMATS)), default=FORMATS, help=f"of {','.join(FORMATS)} (default: all)")
    add("--threads", type=listed(at_least(1)), default=THREADS, help="numbers of threads (default: 1,2)")
    add("--weights", default="random", help="as model.weights: random, pretrained, a path or a URL (default: %(default)s)")
    add("--size", type=at_least(32), help="pixels of a side (default: each network's own)")
    add("--seconds", type=_seconds, default=SECONDS, help="measured for each row (default: %(default)s)")
    add("--out", type=Path, default=RESULTS, help="folder for the results (default: %(default)s)")
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace) -> None:
    if options.weights not in ("random", "pretrained") and len(options.models) > 1:
        raise UserError(
            f"--weights {options.weights}: one checkpoint fits one network; name it, e.g. --models {options.models[0]}"
        )


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it, anew after each network; returns the table.

    Raises:
      UserError: options that do not go together, or weights that cannot be had or do not fit.
    """
    _check(options)
    machine = describe_machine() | {"litert": importlib.metadata.version("ai-edge-litert")}
    rows: list[Latency] = []
    text = ""
    total = len(options.models) * steps(options.formats)
    with (
        tempfile.TemporaryDirectory(prefix="latency-") as folder,
        progress(total=total, describe="latency", unit="step") as bar,
    ):
        for model in options.models:
            bar.set_postfix_str(model)
            rows += measure_streams(
                model,
                Path(folder),
                formats=options.formats,
                threads=options.threads,
                weights=options.weights,
                size=options.size,
                seconds=options.seconds,
                on_step=bar.update,
            )
            text = save(options.out, rows, machine, command, options.weights)
    return text


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.latency", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
