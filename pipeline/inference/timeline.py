"""What still and animated pictures of a streamed clip have in common: the data that they show, and their style.

Invariants: the classes shown, their order and their colours stay the same from the first frame to the last; names are wrapped,
never truncated; times are in seconds from the clip's start.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.inference.models import Predictor
from pipeline.inference.sources import Source, first_seconds
from pipeline.inference.streaming import StreamedFrame
from pipeline.reporting.fonts import wrap

# Okabe & Ito (2008), "Color Universal Design", without yellow, which is pale on white; the last is grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4b5563")
FRAME_PIXELS = 288  # short side of the frames shown
FONT_SIZE = 11
LINE_HEIGHT = FONT_SIZE * 1.3 / 72  # inches
_NAME_WIDTH = 30  # characters per line of a class name


class Timeline(NamedTuple):
    """A streamed clip as it is drawn.

    Attributes:
      times: seconds, (T,).
      probabilities: of the K classes shown, (T, K).
      names: of these classes, wrapped.
      images: T frames, uint8 RGB.
      end: the time at which the last frame ends.
    """

    times: np.ndarray
    probabilities: np.ndarray
    names: list[str]
    images: list[np.ndarray]
    end: float


def select_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """The `top` classes of (T, N) with the largest sum of final and mean probability, ordered by final probability."""
    final = probabilities[-1]
    chosen = np.argsort(-(final + probabilities.mean(axis=0)), kind="stable")[:top]
    return chosen[np.argsort(-final[chosen], kind="stable")]


def build_timeline(streamed: Sequence[StreamedFrame], source: Source, predictor: Predictor, top: int) -> Timeline:
    """The timeline of a streamed source. Frames are decoded again at a larger size, except those of a camera."""
    probabilities = np.stack([frame.probabilities for frame in streamed])
    chosen = select_classes(probabilities, min(top, len(COLOURS)))
    images = [frame.image for frame in streamed]
    if not source.live:
        end = streamed[-1].seconds + 0.5 / predictor.fps
        images = [image for _, image in first_seconds(source.frames(predictor.fps, FRAME_PIXELS), end)]
    times = np.array([frame.seconds for frame in streamed])
    names = [wrap(predictor.classes[index], _NAME_WIDTH) for index in chosen]
    return Timeline(times, probabilities[:, chosen], names, images, float(times[-1] + 1 / predictor.fps))


def extend_to_end(timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Times (T + 1,) and probabilities (T + 1, K): the last probabilities hold until the end of the last frame."""
    return np.append(timeline.times, timeline.end), np.vstack([timeline.probabilities, timeline.probabilities[-1:]])


def format_percent(probability: float) -> str:
    return f"{100 * probability:.0f}%" if probability >= 0.01 else "<1%"


def text_width(text: str) -> float:
    """Inches of the widest line."""
    return max(TextPath((0, 0), line or " ", size=FONT_SIZE).get_extents().width for line in text.split("\n")) / 72


def add_axes_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Adds axes at a position in inches."""
    figure_width, figure_height = figure.get_size_inches()
    return figure.add_axes((left / figure_width, bottom / figure_height, width / figure_width, height / figure_height))


def format_time_axes(axes: Axes, timeline: Timeline) -> None:
    """Seconds on the x axis, per cent on the y axis."""
    axes.set(xlim=(0, timeline.end), ylim=(-0.02, 1.02), xlabel="seconds")
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[2.5, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True)
    axes.set_axisbelow(True)


def plot_probabilities(axes: Axes, timeline: Timeline, *, opacity: float = 1.0) -> list[Line2D]:
    """One line per class, the most probable on top."""
    times, probabilities = extend_to_end(timeline)
    style = {"linewidth": 2, "solid_capstyle": "round", "alpha": opacity}
    return [axes.plot(times, probabilities[:, k], color=COLOURS[k], zorder=9 - k, **style)[0] for k in range(len(timeline.names))]
