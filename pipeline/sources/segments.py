"""Segments of recordings in listings: their times, checked against each other and the files, and clips of unlabelled time.

Times are seconds from a recording's first frame. Lengths of recordings are what their headers state.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pipeline.check_results import CheckResult, warning
from pipeline.console import UserError, progress
from pipeline.settings import Background
from pipeline.sources.left_out import few
from pipeline.sources.source import Clip
from pipeline.sources.threads import in_threads
from pipeline.video.container import BrokenVideo, VideoFile
from pipeline.video.segment import SHORTEST, Segment

__all__ = ["Listed", "Recordings", "background_clips", "bad_rows", "check_segments", "parse_seconds", "parse_segment"]

SLACK = 0.1  # seconds by which a segment may end after its recording without a note: headers and tools round
_READERS = 8  # threads that read headers: on a network file system each read takes a round trip
_MANY = 100  # recordings, from which on a progress bar is shown
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")


class Listed(NamedTuple):
    """A clip and the row that lists it. listing: its path."""

    clip: Clip
    listing: str
    line: int


@dataclass(frozen=True)
class Recordings:
    """The recordings of which clips are segments.

    Attributes:
      seconds: length by path; None if the header states none.
      notes: lines for the user. warnings: what looks wrong in the listings.
    """

    seconds: dict[str, float | None]
    notes: list[str] = field(default_factory=list)
    warnings: list[CheckResult] = field(default_factory=list)


def parse_segment(start: str, end: str) -> Segment | None:
    """The segment of a row: `12.4`, `mm:ss` or `hh:mm:ss.mmm`, also with a decimal comma. None if both are empty: the whole file.

    An empty start is 0, an empty end that of the file. Raises ValueError that says what is wrong.
    """
    if not start and not end:
        return None
    segment = Segment(parse_seconds("start", start) if start else 0.0, parse_seconds("end", end) if end else None)
    if segment.end is not None and segment.end <= segment.start:
        raise ValueError(f"the end {end} is not after the start {start or 0}")
    if segment.end is not None and segment.end - segment.start < SHORTEST - 1e-9:
        raise ValueError(f"from {start or 0} to {end} is shorter than a frame (1/30 s)")
    return segment


def parse_seconds(name: str, text: str) -> float:
    """The seconds of a time as `parse_segment` reads it. name: start or end, for the message of the ValueError."""
    value = text.replace(",", ".")
    clock = _CLOCK.fullmatch(value.removeprefix("-"))
    try:
        if clock:
            hours, minutes, seconds = int(clock[1] or 0), int(clock[2]), float(clock[3])
            if seconds >= 60 or (clock[1] and minutes >= 60):
                raise ValueError
            # Rounded, so that it is the decimal that was meant: 60 + 12.4 is 72.4.
            seconds = round(3600 * hours + 60 * minutes + seconds, 6)
        else:
            seconds = abs(float(value))
        if not math.isfinite(seconds):
            raise ValueError
    except ValueError:
        raise ValueError(f"the {name} {text!r} is not a time") from None
    if value.startswith("-"):
        raise ValueError(f"the {name} {text} is negative")
    return seconds


def bad_rows(listing: str, problems: Sequence[tuple[int, str]], rows: int) -> UserError:
    """The error of a listing's rows that state no usable segment. problems: (line, what is wrong). rows: how many it has."""
    some = few(f"row {line}: {what}" for line, what in sorted(problems))
    message = f"data.listing = {listing}: {len(problems)} of {rows} rows state no usable segment ({some})"
    return UserError(message, advice="give start and end in seconds from the file's first frame, or as hh:mm:ss.mmm")


def check_segments(root: Path, listed: Sequence[Listed]) -> Recordings:
    """Compares the segments with the lengths of their recordings, which are opened once each, and with each other.

    root: folder of the recordings. Raises UserError, naming rows, for segments that start after the end of their recording.
    """
    segments = [one for one in listed if one.clip.segment is not None]
    paths = sorted({one.clip.source for one in segments})
    with progress(total=len(paths), describe="reading headers", unit="file", disable=len(paths) < _MANY) as bar:

        def read(path: str) -> float | None:
            bar.update()
            return _header_seconds(root / path)

        recordings = Recordings(in_threads(read, paths, _READERS))
    several = len({one.listing for one in listed}) > 1
    _refuse_late_starts(segments, recordings.seconds, listed)
    _note_late_ends(segments, recordings, several)
    _note_overlaps(segments, recordings, several)
    return recordings


def _header_seconds(path: Path) -> float | None:
    try:
        with VideoFile(path) as video:
            return video.seconds
    except BrokenVideo:
        return None  # extract reports it for each of its segments


def _row(one: Listed, several: bool) -> str:
    return f"row {one.line} of {Path(one.listing).name}" if several else f"row {one.line}"


def _refuse_late_starts(segments: Iterable[Listed], seconds: dict[str, float | None], listed: Sequence[Listed]) -> None:
    problems: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for one in segments:
        length = seconds[one.clip.source]
        if length is not None and one.clip.segment.start >= length:
            what = f"the start {one.clip.segment.start:g} is past the end of {one.clip.source}, which lasts {length:.2f} s"
            problems[one.listing].append((one.line, what))
    for listing, found in problems.items():
        raise bad_rows(listing, found, sum(one.listing == listing for one in listed))


def _note_late_ends(segments: Iterable[Listed], recordings: Recordings, several: bool) -> None:
    late = []
    for one in segments:
        length, end = recordings.seconds[one.clip.source], one.clip.segment.end
        if length is not None and end is not None and end > length + SLACK:
            late.append(f"{_row(one, several)}: {end:g} of {length:.2f} s")
    if late:
        what = "segment ends after its recording and is" if len(late) == 1 else "segments end after their recordings and are"
        recordings.notes.append(f"{len(late)} {what} cut there ({few(late)})")


def _note_overlaps(segments: Iterable[Listed], recordings: Recordings, several: bool) -> None:
    pairs: dict[bool, list[str]] = {True: [], False: []}  # by whether the labels are equal
    for source, members in _by_source(segments).items():
        current: list[Listed] = []
        for one in sorted(members, key=lambda one: (one.clip.segment.start, one.line)):
            current = [other for other in current if _end(other, recordings) - one.clip.segment.start >= SHORTEST]
            for other in current:
                rows = f"{_row(other, several)} and {_row(one, several)} of {source}"
                pairs[one.clip.category == other.clip.category].append(rows)
            current.append(one)
    if pairs[True]:
        recordings.notes.append(f"{_pairs(pairs[True])} of the same label overlap ({few(pairs[True])})")
    if pairs[False]:
        line = f"{_pairs(pairs[False])} of different labels overlap, so the same frames are in two classes ({few(pairs[False])})"
        recordings.warnings.append(warning("data", line, "shorten one of each pair, or remove it"))


def _pairs(rows: Sequence[str]) -> str:
    return f"{len(rows)} pair{'s' * (len(rows) > 1)} of segments"


def _by_source(listed: Iterable[Listed]) -> dict[str, list[Listed]]:
    sources: dict[str, list[Listed]] = defaultdict(list)
    for one in listed:
        sources[one.clip.source].append(one)
    return dict(sorted(sources.items()))


def _end(one: Listed, recordings: Recordings) -> float:
    return next(end for end in (one.clip.segment.end, recordings.seconds[one.clip.source], math.inf) if end is not None)


def background_clips(listed: Sequence[Listed], recordings: Recordings, background: Background) -> tuple[list[Clip], list[str]]:
    """Clips of `background.seconds` of unlabelled time, spread evenly over recordings and within each; and lines for the user.

    Unlabelled is the time that overlaps no segment of any class. A clip takes the group and the split of its recording; one whose
    rows have different groups or splits is not used, nor is one whose header states no length.
    Raises UserError if nothing is listed in segments, or if no unlabelled time is long enough.
    """
    sources = _by_source(one for one in listed if one.clip.segment is not None)
    if not sources:
        raise UserError(
            "data.background is for recordings that are listed in segments, and there are none",
            advice="give the listing columns start and end (docs/segments.md), or set data.background=null",
        )
    length = round(1000 * background.seconds)  # milliseconds, so that all that follows is exact
    unknown, mixed, longest = [], [], 0
    fitting: dict[str, list[int]] = {}  # starts of clips by recording
    for source, members in sources.items():
        if len({(one.clip.group, one.clip.split) for one in members}) > 1:
            mixed.append(source)
        elif recordings.seconds[source] is None:
            unknown.append(source)
        else:
            gaps = _gaps(members, recordings)
            longest = max([longest, *(end - start for start, end in gaps)])
            fitting[source] = [start for gap in gaps for start in _spread(*gap, length)]
    lines = []
    if mixed:
        lines.append(f"the unlabelled time of {_named(mixed)} is not used, because their rows have different groups or splits")
    if unknown:
        lines.append(f"the unlabelled time of {_named(unknown)} is not used, because their headers state no length")
    fit = sum(map(len, fitting.values()))
    if not fit:
        why = f" ({'; '.join(lines)})" if lines else ""
        raise UserError(
            f"data.background: no unlabelled time of {background.seconds:g} s in {_recordings(len(sources))}; "
            f"the longest is {longest / 1000:.1f} s{why}",
            advice="lower data.background.seconds, or set data.background=null",
        )
    clips = []
    for source, count in _shares({source: len(starts) for source, starts in fitting.items()}, background.per_class).items():
        model, starts = sources[source][0].clip, fitting[source]
        for index in range(count):
            start = starts[(2 * index + 1) * len(starts) // (2 * count)]
            segment = Segment(start / 1000, (start + length) / 1000)
            clips.append(replace(model, category=background.label, segment=segment))
    used = len({clip.source for clip in clips})
    from_ = f"the unlabelled time of {_recordings(used)}, in which {fit} fit"
    what = f"{len(clips)} clip{'s' * (len(clips) != 1)} of {background.seconds:g} s from {from_}"
    labelled = sum(one.clip.category == background.label for one in listed)
    joined = f"; they join the {labelled} listed clip{'s' * (labelled != 1)} of that label" if labelled else ""
    return clips, [f"class {background.label}: {what}{joined}", *lines]


def _named(sources: Sequence[str]) -> str:
    return f"{_recordings(len(sources))} ({few(sources)})"


def _recordings(count: int) -> str:
    return f"{count} recording{'s' * (count != 1)}"


def _gaps(members: Sequence[Listed], recordings: Recordings) -> list[tuple[int, int]]:
    """The unlabelled intervals of a recording, in milliseconds."""
    gaps, free = [], 0
    for one in sorted(members, key=lambda one: one.clip.segment.start):
        start, end = one.clip.segment.start, _end(one, recordings)
        gaps.append((free, math.floor(1000 * start)))
        free = max(free, math.ceil(1000 * end))
    gaps.append((free, math.floor(1000 * recordings.seconds[members[0].clip.source])))
    return [(start, end) for start, end in gaps if end > start]


def _spread(start: int, end: int, length: int) -> list[int]:
    """Starts of as many intervals of `length` as fit between start and end, evenly spaced."""
    number, gap = (end - start) // length, end - start
    return [start + ((2 * index + 1) * gap - number * length) // (2 * number) for index in range(number)]


def _shares(available: dict[str, int], most: int | None) -> dict[str, int]:
    """How many to take of each: as equally as what is available allows, `most` in all (None: everything)."""
    if most is None or most >= sum(available.values()):
        return available
    shares = dict.fromkeys(available, 0)
    left = most
    while left:
        open_ = [name for name in available if shares[name] < available[name]]
        each = left // len(open_)
        # Fewer are left than there are names: one each for some, evenly spread among them.
        chosen = open_ if each else [open_[(2 * index + 1) * len(open_) // (2 * left)] for index in range(left)]
        for name in chosen:
            more = min(max(each, 1), available[name] - shares[name])
            shares[name] += more
            left -= more
    return shares
