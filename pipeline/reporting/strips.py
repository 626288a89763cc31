"""What the page shows of clips: film strips by cell of the confusion matrix, and what is known about the surest mistakes.

The pictures come from results/clips, which evaluate wrote; nothing is decoded here.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.artifacts import Mistake, Occlusion, RunningPrediction, ShownClips, Strip
from pipeline.console import UserError
from pipeline.evaluation.predictions import Predictions, surest_mistakes
from pipeline.explanation.selection import SUSPECTS, clips_by_cell

BAR_HEIGHT = 28  # pixels of the row of bars below a strip, on each side of its axis half as many
STRONGEST = 0.7  # opacity of the strongest colour over a strip
SMALLEST_SCALE = 0.01  # of probability: smaller differences have pale colours
CHART = (400, 150)  # pixels of the chart of a running prediction
_ROWS = ("top", "upper middle", "lower middle", "bottom")
_COLUMNS = ("left", "centre left", "centre right", "right")


class ClipPictures(NamedTuple):
    """The content of results/clips. jpegs: by the names of the files."""

    content: ShownClips
    jpegs: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path, test: Predictions) -> "ClipPictures":
        """Raises UserError if the folder is incomplete, or of other predictions than `test`."""
        if not folder.exists():
            reason = f"{folder} was not made"
            return cls(ShownClips(no_neighbours=reason, no_occlusion=reason, no_running=reason), {})
        content = ShownClips.read(folder / "clips.json")
        surest = test.clips[surest_mistakes(test)].tolist()
        own = [mistake.clip for mistake in content.mistakes]
        if own != surest[: len(own)] or not {strip.clip for strip in content.strips if strip.split == "test"} <= set(test.clips):
            message = f"{folder}: of other predictions than predictions.csv: they come from different runs"
            raise UserError(message, advice="run `dvc repro evaluate`")
        names = [name for strip in content.strips for name in strip.files]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder / missing[0]}: not found", advice="run `dvc repro evaluate`")
        return cls(content, {name: (folder / name).read_bytes() for name in names})

    def strips(self, split: str) -> dict[str, Strip]:
        """By clip."""
        return {strip.clip: strip for strip in self.content.strips if strip.split == split}


class Box(NamedTuple):
    """A coloured rectangle, in pixels. lower: whether covering this part makes the class less probable, else more."""

    x: float
    y: float
    width: float
    height: float
    opacity: float
    lower: bool


class Film(NamedTuple):
    """Frames side by side, one file. width, height: pixels. boxes: over the frames; bars: below them. seconds: of each frame."""

    source: str
    width: int
    height: int
    seconds: list[float]
    boxes: list[Box]
    bars: list[Box]


class ShownStrip(NamedTuple):
    """alt: what it shows. films: in the order of time."""

    clip: str
    class_name: str
    alt: str
    films: list[Film]


class ShownNeighbour(NamedTuple):
    class_name: str
    similarity: float
    clip: str
    strip: ShownStrip | None


class ShownOcclusion(NamedTuple):
    """What a prediction depends on.

    Attributes:
      scale: the difference of probability that has the strongest colour.
      place, against: the parts without which the class is least and most probable, in words; *_drop, *_rise: by how much.
      moment: the seconds of the frame around which it depends most on the clip.
    """

    probability: float
    strip: ShownStrip
    scale: float
    place: str
    place_drop: float
    against: str
    against_rise: float
    moment: float
    moment_drop: float


class Line(NamedTuple):
    """A class in the chart of a running prediction. points: of an SVG polyline. last: its probability at the end."""

    name: str
    points: str
    last: float


class ShownRunning(NamedTuple):
    """ticks: pixels and seconds. since: from when on the last class is the most probable one. shown: frames, of `frames`."""

    lines: list[Line]
    ticks: list[tuple[float, str]]
    last_class: str
    since: float
    actual_first: float | None
    shown: int
    frames: int


class ShownMistake(NamedTuple):
    number: int
    clip: str
    actual: str
    predicted: str
    probability: float
    of_actual: float
    strip: ShownStrip | None
    neighbours: list[ShownNeighbour]
    occlusion: ShownOcclusion | None
    running: ShownRunning | None


class ShownSuspect(NamedTuple):
    """A clip whose label, `given`, may be wrong. of_given, of_suggested: probabilities of a model that did not see its group."""

    number: int
    clip: str
    split: str
    given: str
    suggested: str
    of_given: float
    of_suggested: float
    strip: ShownStrip


class ShownCell(NamedTuple):
    """A cell of the confusion matrix. share: of the clips of its class. strips: with the probability of the predicted class."""

    anchor: str
    actual: str
    predicted: str
    clips: int
    share: float
    strips: list[tuple[ShownStrip, float]]


class ShownClass(NamedTuple):
    """A row of the confusion matrix. cells: one per predicted class; None where no clip is."""

    name: str
    clips: int
    wrong: int
    cells: list[ShownCell | None]


def show_classes(test: Predictions, matrix: np.ndarray, pictures: ClipPictures) -> list[ShownClass]:
    """The rows of the confusion matrix, int (C, C), that have clips."""
    strips, chosen = pictures.strips("test"), clips_by_cell(test)
    rows = []
    for actual, counts in enumerate(matrix.tolist()):
        cells: list[ShownCell | None] = []
        for predicted, clips in enumerate(counts):
            own = [(test.clips[row], test.probabilities[row, predicted]) for row in chosen.get((actual, predicted), [])]
            shown = [(show_strip(strips[clip], pictures), float(probability)) for clip, probability in own if clip in strips]
            names = test.classes[actual], test.classes[predicted]
            cell = ShownCell(f"cell-{actual}-{predicted}", *names, clips, clips / max(sum(counts), 1), shown)
            cells.append(cell if clips else None)
        rows.append(ShownClass(test.classes[actual], sum(counts), sum(counts) - counts[actual], cells))
    return [row for row in rows if row.clips]


def show_mistakes(test: Predictions, pictures: ClipPictures) -> list[ShownMistake]:
    """The surest mistakes, the surest first."""
    row_of = {clip: row for row, clip in enumerate(test.clips.tolist())}
    return [
        _show_mistake(number, mistake, row_of[mistake.clip], test, pictures)
        for number, mistake in enumerate(pictures.content.mistakes, start=1)
    ]


def show_suspects(suspects: pd.DataFrame, pictures: ClipPictures) -> list[ShownSuspect]:
    """The first rows of suspects.csv, as far as there are strips of them."""
    strips = {(strip.split, strip.clip): strip for strip in pictures.content.strips}
    shown = []
    for number, row in enumerate(suspects.head(SUSPECTS).itertuples(), start=1):
        if (row.split, row.clip) not in strips:
            break
        strip = show_strip(strips[row.split, row.clip], pictures)
        shown.append(ShownSuspect(number, row.clip, row.split, row.given, row.suggested, row.p_given, row.p_suggested, strip))
    return shown


def _show_mistake(number: int, mistake: Mistake, row: int, test: Predictions, pictures: ClipPictures) -> ShownMistake:
    strips, of_training = pictures.strips("test"), pictures.strips("train")
    strip = strips.get(mistake.clip)
    actual, predicted = int(test.labels[row]), int(test.predicted[row])
    neighbours = [
        ShownNeighbour(
            one.class_name,
            one.similarity,
            one.clip,
            show_strip(of_training[one.clip], pictures) if one.clip in of_training else None,
        )
        for one in mistake.neighbours
    ]
    return ShownMistake(
        number,
        mistake.clip,
        test.classes[actual],
        test.classes[predicted],
        float(test.probabilities[row, predicted]),
        float(test.probabilities[row, actual]),
        None if strip is None else show_strip(strip, pictures),
        neighbours,
        None if mistake.occlusion is None or strip is None else _show_occlusion(mistake.occlusion, strip, pictures),
        None if mistake.running is None else _show_running(mistake.running),
    )


def show_strip(strip: Strip, pictures: ClipPictures, occlusion: Occlusion | None = None, scale: float = 1.0) -> ShownStrip:
    """The strip, with an occlusion as colours over the frames and bars below them. scale: see `ShownOcclusion`."""
    films, count = [], strip.frames_per_file
    for number, name in enumerate(strip.files):
        part = slice(number * count, (number + 1) * count)
        seconds = strip.seconds[part]
        boxes, bars = [], []
        if occlusion is not None:
            boxes = [box for frame in range(len(seconds)) for box in _boxes(occlusion.space, strip, frame, scale)]
            bars = _bars(occlusion.time[part], strip, scale)
        width = len(seconds) * (strip.width + strip.gap) - strip.gap
        source = "data:image/jpeg;base64," + base64.b64encode(pictures.jpegs[name]).decode()
        films.append(Film(source, width, strip.height, seconds, boxes, bars))
    times = f"from {strip.seconds[0]:.1f} to {strip.seconds[-1]:.1f} s"
    return ShownStrip(strip.clip, strip.class_name, f"{len(strip.seconds)} frames of {strip.clip}, {times}", films)


def _boxes(space: list[list[float]], strip: Strip, number: int, scale: float) -> list[Box]:
    """The grid over the centred square of frame `number`, which is what the classifier sees."""
    side = min(strip.width, strip.height)
    left = number * (strip.width + strip.gap) + (strip.width - side) // 2
    top = (strip.height - side) // 2
    cell = side / len(space)
    return [
        Box(left + column * cell, top + row * cell, cell, cell, _opacity(drop, scale), drop > 0)
        for row, drops in enumerate(space)
        for column, drop in enumerate(drops)
    ]


def _bars(drops: Sequence[float], strip: Strip, scale: float) -> list[Box]:
    """A bar below each frame, up from the axis for a loss of probability and down for a gain."""
    half = BAR_HEIGHT / 2
    bars = []
    for number, drop in enumerate(drops):
        height = max(half * min(abs(drop) / scale, 1), 0.5)
        bars.append(
            Box(number * (strip.width + strip.gap), half - height if drop > 0 else half, strip.width, height, 1, drop > 0)
        )
    return bars


def _opacity(drop: float, scale: float) -> float:
    return round(STRONGEST * min(abs(drop) / scale, 1), 3)


def _show_occlusion(occlusion: Occlusion, strip: Strip, pictures: ClipPictures) -> ShownOcclusion:
    space, time = np.array(occlusion.space), np.array(occlusion.time)
    scale = max(SMALLEST_SCALE, float(np.abs(space).max()), float(np.abs(time).max()))
    return ShownOcclusion(
        occlusion.probability,
        show_strip(strip, pictures, occlusion, scale),
        scale,
        _describe_place(int(space.argmax()), len(space)),
        float(space.max()),
        _describe_place(int(space.argmin()), len(space)),
        float(-space.min()),
        strip.seconds[int(time.argmax())],
        float(time.max()),
    )


def _describe_place(number: int, grid: int) -> str:
    """The cell `number` of a grid of `grid` rows and columns, counted by rows, in words."""
    row, column = divmod(number, grid)
    return f"{_ROWS[row * len(_ROWS) // grid]}, {_COLUMNS[column * len(_COLUMNS) // grid]}"


def _show_running(running: RunningPrediction) -> ShownRunning:
    width, height = CHART
    seconds, values = np.array(running.seconds), np.array(running.probabilities)
    end = max(float(seconds[-1]), 1e-9)
    lines = [
        Line(
            name,
            " ".join(f"{width * at / end:.1f},{height * (1 - value):.1f}" for at, value in zip(seconds, column, strict=True)),
            float(column[-1]),
        )
        for name, column in zip(running.classes, values.T, strict=True)
    ]
    first = values.argmax(axis=1)
    changes = np.flatnonzero(first != first[-1])
    actual = np.flatnonzero(first == 1)  # the actual class is the second one
    ticks = [(width * share, f"{end * share:.1f}") for share in (0, 0.25, 0.5, 0.75, 1)]
    return ShownRunning(
        lines,
        ticks,
        running.classes[first[-1]],
        float(seconds[changes[-1] + 1]) if len(changes) else float(seconds[0]),
        float(seconds[actual[0]]) if len(actual) else None,
        len(seconds),
        running.frames,
    )
