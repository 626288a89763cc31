"""What a picture of a streamed clip shows, and how it looks, whether it moves or not.

Invariants: the classes shown, their order and their colours are the same from the first frame to the last; names are
wrapped, never cut; time is in seconds from the clip's start.
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
from pipeline.inference.sources import Source, limited
from pipeline.inference.streaming import Step
from pipeline.reporting.fonts import wrap

# Okabe & Ito (2008), "Color Universal Design", without yellow, which is pale on white; the last is grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#4b5563")
PIXELS = 288  # short side of the frames shown
FONT = 11
LINE = FONT * 1.3 / 72  # inches
_WRAP = 30  # columns a line of a class name


class Timeline(NamedTuple):
    """A streamed clip as it is drawn.

    times: (T,) seconds. probabilities: (T, K) of the K classes shown. names: of these, wrapped. images: T frames, uint8 RGB.
    end: when the last frame's time is over.
    """

    times: np.ndarray
    probabilities: np.ndarray
    names: list[str]
    images: list[np.ndarray]
    end: float


def shown_classes(probabilities: np.ndarray, top: int) -> np.ndarray:
    """Which classes of (T, N) are worth a line: those that end high or were high for long; ordered by how they end."""
    final = probabilities[-1]
    chosen = np.argsort(-(final + probabilities.mean(axis=0)), kind="stable")[:top]
    return chosen[np.argsort(-final[chosen], kind="stable")]


def course_of(steps: Sequence[Step], source: Source, predictor: Predictor, top: int) -> Timeline:
    """Gathers it; frames are decoded anew, larger than the network sees them, unless the source is gone by now."""
    probabilities = np.stack([step.probabilities for step in steps])
    chosen = shown_classes(probabilities, min(top, len(COLOURS)))
    images = [step.image for step in steps]
    if not source.live:
        end = steps[-1].seconds + 0.5 / predictor.fps
        images = [image for _, image in limited(source.frames(predictor.fps, PIXELS), end)]
    times = np.array([step.seconds for step in steps])
    names = [wrap(predictor.classes[index], _WRAP) for index in chosen]
    return Timeline(times, probabilities[:, chosen], names, images, float(times[-1] + 1 / predictor.fps))


def lasting(timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Times (T + 1,) and probabilities (T + 1, K), the last of which hold until the end of the last frame."""
    return np.append(timeline.times, timeline.end), np.vstack([timeline.probabilities, timeline.probabilities[-1:]])


def share(level: float) -> str:
    return f"{100 * level:.0f}%" if level >= 0.01 else "<1%"


def width_of(text: str) -> float:
    """Inches of the widest line."""
    return max(TextPath((0, 0), line or " ", size=FONT).get_extents().width for line in text.split("\n")) / 72


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def time_axes(axes: Axes, timeline: Timeline) -> None:
    """Seconds across, per cent up."""
    axes.set(xlim=(0, timeline.end), ylim=(-0.02, 1.02), xlabel="seconds")
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[2.5, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True)
    axes.set_axisbelow(True)


def lines(axes: Axes, timeline: Timeline, *, opacity: float = 1.0) -> list[Line2D]:
    """A line a class, the most probable on top."""
    times, levels = lasting(timeline)
    style = {"linewidth": 2, "solid_capstyle": "round", "alpha": opacity}
    return [axes.plot(times, levels[:, k], color=COLOURS[k], zorder=9 - k, **style)[0] for k in range(len(timeline.names))]
