"""A streamed clip in one picture: frames above the place they have on the time axis, and each line named where it ends."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.inference.timeline import COLOURS, FONT, LINE, Timeline, lines, place, share, time_axes, width_of
from pipeline.reporting.style import GREY

_LOW, _HIGH = -0.02, 1.02  # what the upright axis spans


def spread(wanted: np.ndarray, heights: np.ndarray, top: float) -> np.ndarray:
    """Moves label centres, given from the highest to the lowest, as far apart as they are high, and not above `top`."""
    places = wanted.astype(float).copy()
    for k in range(len(places) - 2, -1, -1):
        places[k] = max(places[k], places[k + 1] + (heights[k] + heights[k + 1]) / 2)
    limit = top
    for k in range(len(places)):
        places[k] = min(places[k], limit - heights[k] / 2)
        limit = places[k] - heights[k] / 2
    return places


def still(timeline: Timeline, title: str) -> Figure:
    """The whole timeline, drawn in the style in force."""
    chart, left, below, above, gap = 8.0, 0.8, 0.6, 0.45, 0.15
    leader, shares = 0.28, 0.8  # right of the chart: where the lines to the labels end, and where the shares do
    heights = np.array([(name.count("\n") + 1) * LINE + 0.06 for name in timeline.names])
    chart_height = max(2.6, heights.sum() + 0.2)
    high, wide = timeline.images[0].shape[:2]
    count = int(np.clip(round(chart / (1.15 * wide / high)), 1, len(timeline.images)))
    slot = chart / count
    strip = min((slot - 0.05) * high / wide, 1.6)
    width = left + chart + shares + 0.1 + max(map(width_of, timeline.names)) + 0.2
    height = below + chart_height + gap + strip + above
    figure = Figure((width, height), facecolor="white")
    figure.text(left / width, 1 - 0.25 / height, title, fontsize=FONT, color=GREY, va="center")
    axes = place(figure, left, below, chart, chart_height)
    time_axes(axes, timeline)
    lines(axes, timeline)
    for number in range(count):
        middle = (number + 0.5) * timeline.end / count
        shown = max(int(np.searchsorted(timeline.times, middle, side="right")) - 1, 0)
        across = strip * wide / high
        frame = place(figure, left + (number + 0.5) * slot - across / 2, below + chart_height + gap, across, strip)
        frame.imshow(timeline.images[shown], interpolation="bilinear", aspect="auto")
        frame.set_axis_off()
    ends = (timeline.probabilities[-1] - _LOW) / (_HIGH - _LOW)
    places = spread(ends * chart_height, heights, chart_height) / chart_height
    for k, (name, end, at) in enumerate(zip(timeline.names, ends, places, strict=True)):
        line = {"arrowstyle": "-", "color": COLOURS[k], "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (1, end), (1 + leader / chart, at), xycoords="axes fraction", annotation_clip=False, arrowprops=line)
        style = {"transform": axes.transAxes, "va": "center", "color": COLOURS[k], "fontsize": FONT}
        axes.text(1 + shares / chart, at, share(timeline.probabilities[-1, k]), ha="right", **style)
        axes.text(1 + (shares + 0.1) / chart, at, name, **style)
    return figure
