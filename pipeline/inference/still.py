"""A streamed clip as a still: frames above their positions on the time axis, and each line labelled at its end."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.inference.timeline import (
    COLOURS,
    FONT_SIZE,
    LINE_HEIGHT,
    Timeline,
    add_axes_inches,
    format_percent,
    format_time_axes,
    plot_probabilities,
    text_width,
)
from pipeline.reporting.style import GREY

_LOW, _HIGH = -0.02, 1.02  # range of the y axis


def spread_labels(wanted: np.ndarray, heights: np.ndarray, top: float) -> np.ndarray:
    """Moves label centres, ordered from the highest to the lowest, until no two labels overlap and none is above `top`."""
    centres = wanted.astype(float).copy()
    for k in range(len(centres) - 2, -1, -1):
        centres[k] = max(centres[k], centres[k + 1] + (heights[k] + heights[k + 1]) / 2)
    limit = top
    for k in range(len(centres)):
        centres[k] = min(centres[k], limit - heights[k] / 2)
        limit = centres[k] - heights[k] / 2
    return centres


def draw_still(timeline: Timeline, title: str) -> Figure:
    """Draws the whole timeline in the current Matplotlib style."""
    chart, left, below, above, gap = 8.0, 0.8, 0.6, 0.45, 0.15
    leader, percents = 0.28, 0.8  # right of the chart: where the lines to the labels end, and where the percentages do
    heights = np.array([(name.count("\n") + 1) * LINE_HEIGHT + 0.06 for name in timeline.names])
    chart_height = max(2.6, heights.sum() + 0.2)
    image_height, image_width = timeline.images[0].shape[:2]
    aspect = image_width / image_height
    count = int(np.clip(round(chart / (1.15 * aspect)), 1, len(timeline.images)))
    slot = chart / count
    strip = min((slot - 0.05) / aspect, 1.6)
    width = left + chart + percents + 0.1 + max(map(text_width, timeline.names)) + 0.2
    height = below + chart_height + gap + strip + above
    figure = Figure((width, height), facecolor="white")
    figure.text(left / width, 1 - 0.25 / height, title, fontsize=FONT_SIZE, color=GREY, va="center")
    axes = add_axes_inches(figure, left, below, chart, chart_height)
    format_time_axes(axes, timeline)
    plot_probabilities(axes, timeline)
    for number in range(count):
        middle = (number + 0.5) * timeline.end / count
        shown = max(int(np.searchsorted(timeline.times, middle, side="right")) - 1, 0)
        frame_width = strip * aspect
        frame_left = left + (number + 0.5) * slot - frame_width / 2
        frame = add_axes_inches(figure, frame_left, below + chart_height + gap, frame_width, strip)
        frame.imshow(timeline.images[shown], interpolation="bilinear", aspect="auto")
        frame.set_axis_off()
    ends = (timeline.probabilities[-1] - _LOW) / (_HIGH - _LOW)
    centres = spread_labels(ends * chart_height, heights, chart_height) / chart_height
    for k, (name, end, centre) in enumerate(zip(timeline.names, ends, centres, strict=True)):
        line = {"arrowstyle": "-", "color": COLOURS[k], "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            "", (1, end), (1 + leader / chart, centre), xycoords="axes fraction", annotation_clip=False, arrowprops=line
        )
        style = {"transform": axes.transAxes, "va": "center", "color": COLOURS[k], "fontsize": FONT_SIZE}
        axes.text(1 + percents / chart, centre, format_percent(timeline.probabilities[-1, k]), ha="right", **style)
        axes.text(1 + (percents + 0.1) / chart, centre, name, **style)
    return figure
