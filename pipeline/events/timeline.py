"""What a page and a picture of the events of a source show, the same in both.

Invariants: the number of thumbnails is bounded, so that the page of many hours stays small; the most confident events have one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.events.event import Event

AXIS_THUMBNAILS = 96
EVENT_THUMBNAILS = 500


class Timeline(NamedTuple):
    """The events of a source.

    Attributes:
      title: name of the source. seconds: its length.
      events: in the order of time. classes: those that occur, in the order of their first event.
      axis: times of the thumbnails along the time axis.
      of_event: time of each event's thumbnail; None without one.
      jpegs: thumbnails by time.
    """

    title: str
    seconds: float
    events: list[Event]
    classes: list[str]
    axis: list[float]
    of_event: list[float | None]
    jpegs: dict[float, bytes]


def build_timeline(title: str, seconds: float, events: Iterable[Event], thumbnails: Iterable[tuple[float, bytes]]) -> Timeline:
    """thumbnails: seconds and JPEG of each frame that may be shown, in the order of time; only those shown are kept."""
    events = sorted(events, key=lambda event: (event.start, event.end, event.class_name))
    confident = sorted(range(len(events)), key=lambda k: -events[k].confidence)[:EVENT_THUMBNAILS]
    middles = [(k + 0.5) * seconds / AXIS_THUMBNAILS for k in range(AXIS_THUMBNAILS)]
    wanted = sorted([*middles, *((events[k].start + events[k].end) / 2 for k in confident)])
    jpegs = dict(_nearest(wanted, thumbnails))
    times = list(jpegs)
    of_event: list[float | None] = [None] * len(events)
    if times:
        for k in confident:
            of_event[k] = _closest(times, (events[k].start + events[k].end) / 2)
    axis = sorted({_closest(times, middle) for middle in middles}) if times else []
    return Timeline(title, seconds, events, list(dict.fromkeys(event.class_name for event in events)), axis, of_event, jpegs)


def _closest(times: Sequence[float], moment: float) -> float:
    return min(times, key=lambda time: abs(time - moment))


def _nearest(moments: Sequence[float], thumbnails: Iterable[tuple[float, bytes]]) -> Iterable[tuple[float, bytes]]:
    """The thumbnail nearest to each of the ascending `moments`, reading `thumbnails` once."""
    before = None
    k = 0
    for thumbnail in thumbnails:
        while k < len(moments) and moments[k] <= thumbnail[0]:
            yield thumbnail if before is None or thumbnail[0] - moments[k] < moments[k] - before[0] else before
            k += 1
        before = thumbnail
    if k < len(moments) and before is not None:
        yield before
