"""A clip beside its probabilities over time: a GIF or MP4 that moves, or a PNG of the whole timeline.

Equal input gives equal pictures.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.console import progress
from pipeline.files import atomic_file
from pipeline.inference.models import Predictor
from pipeline.inference.movies import write_gif, write_mp4
from pipeline.inference.sources import Source
from pipeline.inference.still import still
from pipeline.inference.streaming import Step
from pipeline.inference.timeline import (
    COLOURS,
    FONT,
    LINE,
    Timeline,
    course_of,
    lasting,
    lines,
    place,
    share,
    time_axes,
    width_of,
)
from pipeline.reporting.fonts import shorten
from pipeline.reporting.style import GREY, check_characters, drawing, png

DPI = 100
_FUTURE = 0.22  # opacity of what is still to come


def draw(path: Path, steps: Sequence[Step], source: Source, predictor: Predictor, *, top: int) -> None:
    """Draws a streamed source to `path`, whole: its suffix chooses GIF, MP4 or PNG. At most len(COLOURS) classes are shown."""
    timeline = course_of(steps, source, predictor, top)
    title = shorten(Path(source.name).name, 48)
    with atomic_file(path) as part:
        if path.suffix.lower() == ".png":
            with drawing():
                figure = still(timeline, title)
            part.write_bytes(png(figure))
            return
        count = len(timeline.times)
        pictures = progress(moving(timeline, title), total=count, describe=f"drawing {path.name}", unit="frame", leave=False)
        if path.suffix.lower() == ".gif":
            write_gif(part, pictures, count, predictor.fps, palette(len(timeline.names)))
        else:
            write_mp4(part, pictures, predictor.fps)


def palette(classes: int) -> list[tuple[int, int, int]]:
    """The colours that a moving picture is drawn in beside its frames: pale to full, as edges and lines to come are."""
    inks = np.array([to_rgb(colour) for colour in (*COLOURS[:classes], "black")])
    opacities = np.array([*np.linspace(0, 1, 7)[1:], _FUTURE])
    shades = 1 - opacities[:, None, None] * (1 - inks)
    return [(255, 255, 255), *(tuple(colour) for colour in np.rint(255 * shades).astype(int).reshape(-1, 3).tolist())]


def _even(inches: float) -> float:
    """Video encoders take even numbers of pixels only."""
    return 2 * round(inches * DPI / 2) / DPI


def moving(timeline: Timeline, title: str) -> Iterator[np.ndarray]:
    """Pictures uint8 (H, W, 3), RGB, one a frame of the timeline, all of one even size."""
    with drawing(figure__dpi=DPI):
        scene = _Scene(timeline, title)
    for number in range(len(timeline.times)):
        with drawing(figure__dpi=DPI):
            picture = scene.picture(number)
        yield picture


class _Scene:
    """The frame at the left; at the right the classes with a bar each, and below them the lines, of which the past is full.

    What stands still is drawn once, what moves is drawn over it for each picture.
    """

    def __init__(self, timeline: Timeline, title: str) -> None:
        self.timeline = timeline
        rows = [max(0.30, (name.count("\n") + 1) * LINE + 0.08) for name in timeline.names]
        labels, chart = max(max(map(width_of, timeline.names)) + 0.15, 0.75), 4.2
        below, between, above = 0.6, 0.35, 0.5
        lines_height = max(1.7, 3.4 - sum(rows))
        height = _even(below + lines_height + between + sum(rows) + above)
        high, wide = timeline.images[0].shape[:2]
        screen = min(height - below - above, 4.6 * high / wide)
        left = 0.25 + screen * wide / high + 0.3 + labels
        width = _even(left + chart + 0.7)
        self.figure = Figure((width, height), facecolor="white")
        self.figure.text(0.25 / width, 1 - 0.3 / height, title, fontsize=FONT, color=GREY, va="center")
        self.screen = place(self.figure, 0.25, height - above - screen, screen * wide / high, screen)
        self.screen.set_axis_off()
        self.image = self.screen.imshow(timeline.images[0], interpolation="bilinear", aspect="auto")
        corner = ((0.25 + screen * wide / high) / width, (height - above - screen - 0.2) / height)
        self.clock = self.figure.text(*corner, "", ha="right", va="center", fontsize=FONT)
        self._draw_bars(left, below + lines_height + between, chart, rows)
        self._draw_lines(left, below, chart, lines_height)
        self.animated: list[Artist] = [self.image, *self.bars, *self.shares, *self.past, self.now, *self.dots, self.clock]
        for artist in self.animated:
            artist.set_animated(True)
        self.canvas = FigureCanvasAgg(self.figure)
        check_characters(self.figure)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def _draw_bars(self, left: float, bottom: float, width: float, rows: list[float]) -> None:
        axes = place(self.figure, left, bottom, width, sum(rows))
        edges = np.concatenate([[0], np.cumsum(rows)])
        middles = (edges[:-1] + edges[1:]) / 2
        axes.set(xlim=(0, 1), ylim=(edges[-1], 0))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_yticks(middles, self.timeline.names, fontsize=FONT, linespacing=1.1)
        axes.tick_params(axis="y", length=0)
        for label, colour in zip(axes.get_yticklabels(), COLOURS, strict=False):
            label.set_color(colour)
        self.bars = axes.barh(middles, np.zeros(len(rows)), 0.2, color=COLOURS[: len(rows)])
        self.shares = [axes.text(0, middle, "", va="center", fontsize=FONT, clip_on=False) for middle in middles]

    def _draw_lines(self, left: float, bottom: float, width: float, height: float) -> None:
        axes = place(self.figure, left, bottom, width, height)
        time_axes(axes, self.timeline)
        lines(axes, self.timeline, opacity=_FUTURE)
        self.past = lines(axes, self.timeline)
        self.now = axes.axvline(0, color="black", linewidth=1.2, zorder=20)
        self.dots = [
            axes.plot([0], [0], "o", color=line.get_color(), markersize=6, zorder=21, clip_on=False)[0] for line in self.past
        ]

    def picture(self, number: int) -> np.ndarray:
        """uint8 (H, W, 3) at the timeline's frame `number`."""
        times, levels = lasting(self.timeline)
        time = times[number]
        self.image.set_data(self.timeline.images[number])
        for k, level in enumerate(levels[number]):
            self.bars[k].set_width(level)
            self.shares[k].set_text(share(level))
            self.shares[k].set_x(level + 0.015)
            self.past[k].set_data(times[: number + 1], levels[: number + 1, k])
            self.dots[k].set_data([time], [level])
        self.now.set_xdata([time, time])
        self.clock.set_text(f"{time:.1f} of {self.timeline.end:.1f} s")
        self.canvas.restore_region(self.background)
        for artist in self.animated:
            self.figure.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[:, :, :3].copy()
