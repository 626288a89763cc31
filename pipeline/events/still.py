"""The events of a source as a picture: a lane for each class over time, with thumbnails above."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from PIL import Image

from pipeline.events.timeline import Timeline
from pipeline.inference.timeline import COLOURS, FONT_SIZE, LINE_HEIGHT, add_axes_inches, text_width
from pipeline.reporting.fonts import shorten, wrap
from pipeline.reporting.style import GREY

MAX_LANES = 40
_LANE = 0.34  # inches
_NAME_WIDTH = 30  # characters per line
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)  # seconds between the labels of times


def _time_label(seconds: float) -> str:
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def class_colours(timeline: Timeline) -> dict[str, str]:
    """The colour of each class; with more than len(COLOURS), several have the same."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(timeline.classes)}


def shown_classes(timeline: Timeline) -> list[str]:
    """At most MAX_LANES classes in the order of `timeline.classes`: those whose events last longest in total."""
    totals = {name: sum(event.seconds for event in timeline.events if event.class_name == name) for name in timeline.classes}
    longest = set(sorted(timeline.classes, key=lambda name: -totals[name])[:MAX_LANES])
    return [name for name in timeline.classes if name in longest]


def draw_still(timeline: Timeline) -> Figure:
    """Draws the timeline in the current Matplotlib style."""
    classes = shown_classes(timeline)
    names = [wrap(name, _NAME_WIDTH) for name in classes]
    heights = [max(_LANE, (name.count("\n") + 1) * LINE_HEIGHT + 0.1) for name in names]
    chart, below, above, gap, right = 9.0, 0.6, 0.45, 0.1, 0.3
    left = max([0.5, *(text_width(name) + 0.25 for name in names)])
    lanes = max(sum(heights), _LANE)
    images = [np.asarray(Image.open(io.BytesIO(timeline.jpegs[time]))) for time in timeline.axis]
    aspect = images[0].shape[1] / images[0].shape[0] if images else 1.0
    count = int(np.clip(round(chart / (0.9 * aspect)), 1, len(images))) if images else 0
    strip = min((chart / count - 0.04) / aspect, 1.2) if count else 0.0
    width, height = left + chart + right, below + lanes + gap + strip + above
    figure = Figure((width, height), facecolor="white")
    found = f"{len(timeline.events)} event{'s' * (len(timeline.events) != 1)}"
    title = f"{shorten(timeline.title, 60)}: {found}"
    if len(classes) < len(timeline.classes):
        title += f", lanes of the {len(classes)} of {len(timeline.classes)} classes that last longest"
    figure.text(left / width, 1 - 0.25 / height, title, fontsize=FONT_SIZE, color=GREY, va="center")
    axes = add_axes_inches(figure, left, below, chart, lanes)
    edges = np.concatenate([[0], np.cumsum(heights)]) if heights else np.array([0, _LANE])
    axes.set(xlim=(0, timeline.seconds), ylim=(edges[-1], 0))
    axes.xaxis.set_major_locator(MultipleLocator(next((step for step in _STEPS if 9 * step >= timeline.seconds), 86400)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, position: _time_label(seconds)))
    axes.set_xlabel("time (minutes:seconds)" if timeline.seconds < 3600 else "time (hours:minutes:seconds)")
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    axes.set_yticks((edges[:-1] + edges[1:])[: len(names)] / 2, names, fontsize=FONT_SIZE, linespacing=1.1)
    axes.tick_params(axis="y", length=0)
    colours = class_colours(timeline)
    thinnest = timeline.seconds * 0.02 / chart  # 0.02 inches, so that a short event in many hours is seen
    for k, name in enumerate(classes):
        own = [event for event in timeline.events if event.class_name == name]
        spans = [(event.start, max(event.seconds, thinnest)) for event in own]
        axes.broken_barh(spans, (edges[k] + 0.06, heights[k] - 0.12), facecolor=colours[name], linewidth=0)
    for number in range(count):
        middle = (number + 0.5) * timeline.seconds / count
        shown = int(np.argmin(np.abs(np.array(timeline.axis) - middle)))
        frame_width = strip * aspect
        frame_left = left + (number + 0.5) * chart / count - frame_width / 2
        frame = add_axes_inches(figure, frame_left, below + lanes + gap, frame_width, strip)
        frame.imshow(images[shown], interpolation="bilinear", aspect="auto")
        frame.set_axis_off()
    return figure
