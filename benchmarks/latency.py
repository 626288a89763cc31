"""Times a frame of the stream networks here, in TensorFlow Lite, TensorFlow and OpenVINO, next to published times.

Networks of full size with random weights by default: what a frame costs does not depend on their values. All formats and numbers
of threads of one network alternate, so that a busy machine slows all alike. Not counted: decoding and resizing the frame.
Written: latency.json, .csv, .md and .png.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.streams import FORMATS, Latency, measure_streams
from benchmarks.table import describe_machine, number, save, spread_text, table
from benchmarks.timing import Spread
from pipeline.arguments import among, at_least, listed
from pipeline.console import STARTS_OVER, UserError, run_command, say
from pipeline.files import atomic_file
from pipeline.models.movinet.network.variants import VARIANTS

STREAMS = tuple(variant.id for variant in VARIANTS.values() if variant.stream)
MODELS = ("a0_stream", "a1_stream", "a2_stream")
THREADS = (1, 2)
SECONDS = 5.0
RESULTS = Path("results/latency")
LONGEST = 3600


class Published(NamedTuple):
    """Milliseconds of a frame in float32 on one core, at `size` pixels; None where nothing is published.

    Source: "TF Lite Streaming Models" in the README of the Model Garden's MoViNet project (tensorflow/models,
    official/projects/movinet/README.md, commit 09d9656f): "Single-frame latency measured on with unaltered float32 operations on
    a single CPU core", on a stock Pixel 4 (Android 11) and an Intel Xeon W-2135. None was measured by this project.
    """

    size: int
    pixel4: int | None
    x86: int


SOURCE = "https://github.com/tensorflow/models/tree/master/official/projects/movinet#tf-lite-streaming-models"
DEVICES = {"pixel4": "Pixel 4", "x86": "Xeon W-2135"}
PUBLISHED = {
    "a0_stream": Published(172, 22, 16),
    "a1_stream": Published(172, 42, 33),
    "a2_stream": Published(224, 200, 66),
    "a3_stream": Published(256, None, 120),
    "a4_stream": Published(290, None, 300),
    "a5_stream": Published(320, None, 450),
}


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


def lines_of(rows: Sequence[Latency], weights: str) -> list[str]:
    """Our times, and under them the published ones, as Markdown."""
    cells = [
        {"model": row.model, "format": row.format, "threads": str(row.threads), "px": str(row.size)}
        | {"ms a frame": spread_text(Spread(row.median, row.low, row.high)), "fastest": number(row.fastest)}
        | {"frames": f"{row.frames:,}", "file, MB": f"{row.bytes / 1e6:.2f}", "state, MB": f"{row.state_bytes / 1e6:.2f}"}
        for row in rows
    ]
    lines = [
        f"Weights: {weights}. Milliseconds a frame: median, in brackets the 10th and 90th percentile. "
        "saved_model runs in TensorFlow, classifier (the folder that finetune writes) in OpenVINO, on one thread.",
        "",
        *table(cells),
    ]
    published = [
        {"model": model, "px": str(times.size)} | {name: str(getattr(times, device) or "-") for device, name in DEVICES.items()}
        for model, times in PUBLISHED.items()
        if any(row.model == model for row in rows)
    ]
    if published:
        lines += ["", f"Published, not measured here: one core, float32, milliseconds a frame ({SOURCE}).", "", *table(published)]
    return lines


def draw(rows: Sequence[Latency], path: Path) -> None:
    """A group of bars for each network: one for each format and number of threads, and the published times."""
    from matplotlib.figure import Figure

    bars = [(row.model, f"{row.format}, {row.threads} thread{'s' * (row.threads > 1)}", row.median) for row in rows]
    for device, name in DEVICES.items():
        known = [model for model in dict.fromkeys(row.model for row in rows) if model in PUBLISHED]
        bars += [(model, f"published: {name}, float32, 1 thread", getattr(PUBLISHED[model], device)) for model in known]
    frame = pd.DataFrame(bars, columns=["model", "bar", "milliseconds"])
    groups = frame.pivot_table("milliseconds", index="model", columns="bar", sort=False)
    figure = Figure(figsize=(max(7, 2 + 0.2 * groups.size), 5), layout="constrained")
    axis = groups.plot.bar(ax=figure.subplots(), logy=True, rot=0, xlabel="", ylabel="milliseconds a frame", legend=False)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(True, axis="y", which="both", alpha=0.2)
    figure.legend(loc="outside right upper", fontsize=8)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=120, format="png")


def run(options: argparse.Namespace, command: str) -> str:
    """Measures what the options ask for and saves it, again after each network; returns the table.

    Raises:
      UserError: options that do not go together, or weights that cannot be had or do not fit.
    """
    if options.weights not in ("random", "pretrained") and len(options.models) > 1:
        advice = f"name it, e.g. --models {options.models[0]}"
        raise UserError(f"--weights {options.weights}: one checkpoint fits one network", advice=advice)
    published = {"source": SOURCE, "milliseconds": {model: times._asdict() for model, times in PUBLISHED.items()}}
    about = {"command": command, "machine": describe_machine(), "weights": options.weights, "published": published}
    measured = {name: getattr(options, name) for name in ("formats", "threads", "weights", "size", "seconds")}
    rows: list[Latency] = []
    text = ""
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        for model in options.models:
            rows += measure_streams(model, Path(folder), **measured)
            draw(rows, options.out / "latency.png")
            text = save(options.out, "latency", [asdict(row) for row in rows], about, lines_of(rows, options.weights))
    return text


def main() -> None:
    options = parse_arguments()
    print(run(options, shlex.join(["python", "-m", "benchmarks.latency", *sys.argv[1:]])))
    say(f"written to {options.out}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
