"""A clip next to its probabilities over time: an animated GIF or MP4, or a PNG of the whole timeline.

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
from pipeline.inference.still import draw_still
from pipeline.inference.streaming import StreamedFrame
from pipeline.inference.timeline import (
    COLOURS,
    FONT_SIZE,
    LINE_HEIGHT,
    Timeline,
    add_axes_inches,
    build_timeline,
    extend_to_end,
    format_percent,
    format_time_axes,
    plot_probabilities,
    text_width,
)
from pipeline.reporting.fonts import shorten
from pipeline.reporting.style import GREY, check_characters, drawing, png

DPI = 100
_FUTURE_OPACITY = 0.22  # of the part of the lines after the current time


def draw_stream(path: Path, streamed: Sequence[StreamedFrame], source: Source, predictor: Predictor, *, top: int) -> None:
    """Draws a streamed source and writes it atomically: the suffix of `path` selects GIF, MP4 or PNG.

    top: number of classes shown, at most len(COLOURS).
    """
    timeline = build_timeline(streamed, source, predictor, top)
    title = shorten(Path(source.name).name, 48)
    with atomic_file(path) as part:
        if path.suffix.lower() == ".png":
            with drawing():
                figure = draw_still(timeline, title)
            part.write_bytes(png(figure))
            return
        count = len(timeline.times)
        pictures = progress(animate(timeline, title), total=count, describe=f"drawing {path.name}", unit="frame", leave=False)
        if path.suffix.lower() == ".gif":
            write_gif(part, pictures, count, predictor.fps, animation_palette(len(timeline.names)))
        else:
            write_mp4(part, pictures, predictor.fps)


def animation_palette(classes: int) -> list[tuple[int, int, int]]:
    """The colours of everything but the video frame: the line colours and black in several opacities, for antialiased edges."""
    inks = np.array([to_rgb(colour) for colour in (*COLOURS[:classes], "black")])
    opacities = np.array([*np.linspace(0, 1, 7)[1:], _FUTURE_OPACITY])
    shades = 1 - opacities[:, None, None] * (1 - inks)
    return [(255, 255, 255), *(tuple(colour) for colour in np.rint(255 * shades).astype(int).reshape(-1, 3).tolist())]


def _round_to_even_pixels(inches: float) -> float:
    """Video encoders accept only even numbers of pixels."""
    return 2 * round(inches * DPI / 2) / DPI


def animate(timeline: Timeline, title: str) -> Iterator[np.ndarray]:
    """Yields one picture per frame, uint8 (H, W, 3), RGB, all of the same even size."""
    with drawing(figure__dpi=DPI):
        scene = _Scene(timeline, title)
    for number in range(len(timeline.times)):
        with drawing(figure__dpi=DPI):
            picture = scene.render(number)
        yield picture


class _Scene:
    """The video frame on the left; on the right one bar per class, and below them the lines, opaque up to the current time.

    The background is drawn once, and the changing parts over it for each picture.
    """

    def __init__(self, timeline: Timeline, title: str) -> None:
        self.timeline = timeline
        rows = [max(0.30, (name.count("\n") + 1) * LINE_HEIGHT + 0.08) for name in timeline.names]
        labels, chart = max(max(map(text_width, timeline.names)) + 0.15, 0.75), 4.2
        below, between, above = 0.6, 0.35, 0.5
        lines_height = max(1.7, 3.4 - sum(rows))
        height = _round_to_even_pixels(below + lines_height + between + sum(rows) + above)
        image_height, image_width = timeline.images[0].shape[:2]
        aspect = image_width / image_height
        frame_height = min(height - below - above, 4.6 / aspect)
        frame_width = frame_height * aspect
        left = 0.25 + frame_width + 0.3 + labels
        width = _round_to_even_pixels(left + chart + 0.7)
        self.figure = Figure((width, height), facecolor="white")
        self.figure.text(0.25 / width, 1 - 0.3 / height, title, fontsize=FONT_SIZE, color=GREY, va="center")
        frame_axes = add_axes_inches(self.figure, 0.25, height - above - frame_height, frame_width, frame_height)
        frame_axes.set_axis_off()
        self.image = frame_axes.imshow(timeline.images[0], interpolation="bilinear", aspect="auto")
        corner = ((0.25 + frame_width) / width, (height - above - frame_height - 0.2) / height)
        self.clock = self.figure.text(*corner, "", ha="right", va="center", fontsize=FONT_SIZE)
        self._draw_bars(left, below + lines_height + between, chart, rows)
        self._draw_lines(left, below, chart, lines_height)
        self.animated: list[Artist] = [self.image, *self.bars, *self.percents, *self.past, self.now, *self.dots, self.clock]
        for artist in self.animated:
            artist.set_animated(True)
        self.canvas = FigureCanvasAgg(self.figure)
        check_characters(self.figure)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def _draw_bars(self, left: float, bottom: float, width: float, rows: list[float]) -> None:
        axes = add_axes_inches(self.figure, left, bottom, width, sum(rows))
        edges = np.concatenate([[0], np.cumsum(rows)])
        middles = (edges[:-1] + edges[1:]) / 2
        axes.set(xlim=(0, 1), ylim=(edges[-1], 0))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_yticks(middles, self.timeline.names, fontsize=FONT_SIZE, linespacing=1.1)
        axes.tick_params(axis="y", length=0)
        for label, colour in zip(axes.get_yticklabels(), COLOURS, strict=False):
            label.set_color(colour)
        self.bars = axes.barh(middles, np.zeros(len(rows)), 0.2, color=COLOURS[: len(rows)])
        self.percents = [axes.text(0, middle, "", va="center", fontsize=FONT_SIZE, clip_on=False) for middle in middles]

    def _draw_lines(self, left: float, bottom: float, width: float, height: float) -> None:
        axes = add_axes_inches(self.figure, left, bottom, width, height)
        format_time_axes(axes, self.timeline)
        plot_probabilities(axes, self.timeline, opacity=_FUTURE_OPACITY)
        self.past = plot_probabilities(axes, self.timeline)
        self.now = axes.axvline(0, color="black", linewidth=1.2, zorder=20)
        self.dots = [
            axes.plot([0], [0], "o", color=line.get_color(), markersize=6, zorder=21, clip_on=False)[0] for line in self.past
        ]

    def render(self, number: int) -> np.ndarray:
        """The picture at the timeline's frame `number`: uint8 (H, W, 3)."""
        times, probabilities = extend_to_end(self.timeline)
        time = times[number]
        self.image.set_data(self.timeline.images[number])
        for k, probability in enumerate(probabilities[number]):
            self.bars[k].set_width(probability)
            self.percents[k].set_text(format_percent(probability))
            self.percents[k].set_x(probability + 0.015)
            self.past[k].set_data(times[: number + 1], probabilities[: number + 1, k])
            self.dots[k].set_data([time], [probability])
        self.now.set_xdata([time, time])
        self.clock.set_text(f"{time:.1f} of {self.timeline.end:.1f} s")
        self.canvas.restore_region(self.background)
        for artist in self.animated:
            self.figure.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[:, :, :3].copy()
