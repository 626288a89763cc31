"""The page of an inspection: one self-contained HTML file, in the look of the report.

Invariants: the page refers to no other file or host; every name from the data is escaped; thumbnails take at most
`THUMBNAIL_BYTES`, and tables have at most `ROWS` rows, so that the page stays small, however many videos there are.
"""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from pipeline.inspection.content import Duplicates, Inspection, Video
from pipeline.inspection.summary import describe_seconds
from pipeline.reporting import templates as report_templates

__all__ = ["render"]

PER_CLASS = 12  # thumbnails
THUMBNAIL_BYTES = 6_000_000  # of JPEG, 8 MB in base64
SETS = 40  # of duplicates
PER_SET = 6
ROWS = 1000
BINS = 24


class Thumbnail(NamedTuple):
    """source: a data URL; None where there is no room for more."""

    source: str | None
    path: str
    label: str


class Bar(NamedTuple):
    """A bar of a histogram. x, width, height: in per cent of the plot. text: what it counts."""

    x: float
    width: float
    height: float
    text: str


class Histogram(NamedTuple):
    title: str
    bars: list[Bar]
    low: str
    high: str
    most: int


class ShownSet(NamedTuple):
    duplicates: Duplicates
    thumbnails: list[Thumbnail]
    more: int


class _Thumbnails:
    """Hands out thumbnails as data URLs until their bytes are used up."""

    def __init__(self, jpegs: Mapping[str, bytes], budget: int):
        self._jpegs, self._left = jpegs, budget

    def of(self, video: Video) -> Thumbnail:
        jpeg = self._jpegs.get(video.path)
        if jpeg is None or len(jpeg) > self._left:
            return Thumbnail(None, video.path, video.label)
        self._left -= len(jpeg)
        return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg).decode(), video.path, video.label)


def render(content: Inspection, jpegs: Mapping[str, bytes]) -> str:
    """The HTML. jpegs: thumbnails by path."""
    report = Path(report_templates.__file__).parent
    templates = report_templates.page_templates(Path(__file__).parent)
    templates.filters |= {"duration": describe_seconds, "megabytes": lambda value: f"{value / 1e6:,.1f}"}
    videos = {video.path: video for video in content.videos}
    thumbnails = _Thumbnails(jpegs, THUMBNAIL_BYTES)
    sets = [_show_set(one, videos, thumbnails) for one in content.duplicates[:SETS]]
    usable = [video for video in content.videos if video.broken is None]
    rows = sorted(content.videos, key=lambda video: (video.broken is None, not video.suspicions, video.path))
    return templates.get_template("page.html.j2").render(
        content=content,
        sets=sets,
        sheets=_contact_sheets(usable, thumbnails),
        histograms=[
            *_histogram("duration", [video.seconds for video in usable if video.seconds], describe_seconds),
            *_histogram("short side, pixels", [min(video.width, video.height) for video in usable], lambda value: f"{value:.0f}"),
            *_histogram("size, MB", [video.bytes / 1e6 for video in usable], lambda value: f"{value:.2g}"),
        ],
        rows=rows[:ROWS],
        rows_left=len(rows) - len(rows[:ROWS]),
        unused=content.unused[:ROWS],
        style=Markup((report / "page.css").read_text(encoding="utf-8")),
        script=Markup((report / "page.js").read_text(encoding="utf-8")),
    )


def _contact_sheets(videos: Sequence[Video], thumbnails: _Thumbnails) -> dict[str, list[Thumbnail]]:
    """At most PER_CLASS thumbnails of each class, evenly chosen; fewer of each class if there is no room for so many."""
    members: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        members[video.label].append(video)
    chosen = {}
    for label, own in sorted(members.items()):
        count = min(PER_CLASS, len(own))
        chosen[label] = [own[number * len(own) // count] for number in range(count)]
    sheets: dict[str, list[Thumbnail]] = {label: [] for label in chosen}
    for number in range(PER_CLASS):  # the first of every class, then the second, so that no class goes without
        for label, own in chosen.items():
            if number < len(own) and (thumbnail := thumbnails.of(own[number])).source is not None:
                sheets[label].append(thumbnail)
    return sheets


def _show_set(one: Duplicates, videos: Mapping[str, Video], thumbnails: _Thumbnails) -> ShownSet:
    shown = [thumbnails.of(videos[path]) for path in one.paths[:PER_SET]]
    return ShownSet(one, shown, len(one.paths) - len(shown))


def _histogram(title: str, values: Sequence[float], text) -> list[Histogram]:
    """A histogram with bins of equal ratio, because durations and sizes span orders of magnitude; none of equal values."""
    if not values or min(values) == max(values):
        return []
    low, high = min(values), max(values)
    ratio = (high / low) ** (1 / BINS)
    edges = [low * ratio**number for number in range(BINS + 1)]
    counts = [0] * BINS
    for value in values:
        number = next((number for number in range(BINS - 1) if value < edges[number + 1]), BINS - 1)
        counts[number] += 1
    bars = [
        Bar(
            100 * number / BINS,
            100 / BINS,
            100 * count / max(counts),
            f"{count:,}: {text(edges[number])} to {text(edges[number + 1])}",
        )
        for number, count in enumerate(counts)
        if count
    ]
    return [Histogram(title, bars, text(low), text(high), max(counts))]
