"""The times of a frame to read: as a Markdown table and as a plot, beside what is published for a phone."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.machine import machine_line
from benchmarks.phones import DEVICES, PUBLISHED, SOURCE
from benchmarks.streams import FORMATS, Latency
from benchmarks.table import number
from pipeline.files import atomic_file, write_json, write_text

PUBLISHED_FORMAT, PUBLISHED_THREADS = "float32", 1


def markdown(rows: Sequence[Latency], machine: dict, command: str, weights: str) -> str:
    """The machine, the command, our times, and under them the published ones."""
    lines = [f"`{command}`", "", f"Measured on {machine_line(machine)}, LiteRT {machine['litert']}; weights: {weights}."]
    lines += ["Milliseconds a frame: median, in brackets the 10th and 90th percentile. saved_model runs in TensorFlow.", ""]
    names = ["model", "format", "threads", "px", "ms a frame", "fastest", "frames", "file, MB", "state, MB"]
    lines += [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in rows:
        times = f"{number(row.median)} ({number(row.low)} to {number(row.high)})"
        cells = [row.model, row.format, str(row.threads), str(row.size), times, number(row.fastest), f"{row.frames:,}"]
        cells += [f"{row.bytes / 1e6:.2f}", f"{row.state_bytes / 1e6:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    models = list(dict.fromkeys(row.model for row in rows if row.model in PUBLISHED))
    if models:
        lines += ["", f"Published, not measured here: one core, {PUBLISHED_FORMAT}, milliseconds a frame ({SOURCE}).", ""]
        lines += [f"| model | px | {' | '.join(DEVICES.values())} |", f"|{'---|' * (2 + len(DEVICES))}"]
        for model in models:
            known = [getattr(PUBLISHED[model], device) for device in DEVICES]
            cells = [model, str(PUBLISHED[model].size), *("-" if value is None else str(value) for value in known)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Latency], path: Path) -> None:
    """A group of bars for each network, a bar a format and number of threads; published times as lines across the group."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model for row in rows))
    ways = sorted({(row.format, row.threads) for row in rows}, key=lambda way: (FORMATS.index(way[0]), way[1]))
    figure = Figure(figsize=(max(7, 1.5 + 0.45 * len(models) * len(ways)), 5), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(ways)
    for place, (format, threads) in enumerate(ways):
        chosen = [row for row in rows if (row.format, row.threads) == (format, threads)]
        xs = [models.index(row.model) - 0.4 + width * (place + 0.5) for row in chosen]
        medians = [row.median for row in chosen]
        spread = [[row.median - row.low for row in chosen], [row.high - row.median for row in chosen]]
        shade = 0.5 + 0.5 / (1 + sorted({row.threads for row in rows}).index(threads))
        colour = f"C{FORMATS.index(format)}"
        label = f"{format}, {threads} thread{'s' * (threads > 1)}"
        axis.bar(xs, medians, width, yerr=spread, color=colour, alpha=shade, label=label, error_kw={"linewidth": 0.8})
    for device, style in zip(DEVICES, ("--", ":"), strict=True):
        label = f"{DEVICES[device]}, published ({PUBLISHED_FORMAT}, one core)"
        for place, model in enumerate(models):
            value = getattr(PUBLISHED[model], device) if model in PUBLISHED else None
            if value is not None:
                axis.hlines(value, place - 0.45, place + 0.45, colors="black", linestyles=style, linewidth=1.2, label=label)
                label = None
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xticks(
        range(len(models)), [f"{model}\n{next(row.size for row in rows if row.model == model)} px" for model in models]
    )
    axis.set_ylabel("milliseconds a frame")
    axis.grid(True, axis="y", which="both", alpha=0.2)
    axis.set_axisbelow(True)
    figure.legend(loc="outside right upper", fontsize=8)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=120, format="png")


def save(folder: Path, rows: Sequence[Latency], machine: dict, command: str, weights: str) -> str:
    """Writes latency.json, latency.md and latency.png to `folder`; returns the Markdown."""
    published = {model: values._asdict() for model, values in PUBLISHED.items()}
    content = {"command": command, "machine": machine, "weights": weights, "rows": [asdict(row) for row in rows]}
    write_json(folder / "latency.json", content | {"published": {"source": SOURCE, "milliseconds": published}})
    text = markdown(rows, machine, command, weights)
    write_text(folder / "latency.md", text)
    draw(rows, folder / "latency.png")
    return text
