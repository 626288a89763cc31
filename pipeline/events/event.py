"""An event, and how it is written: CSV, JSON and lines for people. `pipeline.events.reading` reads the files.

Times are seconds from the first frame.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("source", "start", "end", "class", "confidence")
SUFFIXES = (".csv", ".json")
_TIME_DIGITS, _CONFIDENCE_DIGITS = 3, 6


class Event(NamedTuple):
    """An event of a class in a source, from `start` until `end`. confidence: in [0, 1]; 1 for an annotated event."""

    source: str
    start: float
    end: float
    class_name: str
    confidence: float = 1.0

    @property
    def seconds(self) -> float:
        return self.end - self.start


def as_csv(events: Iterable[Event], *, header: bool = True) -> str:
    """Lines of CSV, each ended by a newline."""
    with io.StringIO() as text:
        writer = csv.writer(text, lineterminator="\n")
        if header:
            writer.writerow(COLUMNS)
        for event in events:
            times = [f"{seconds:.{_TIME_DIGITS}f}" for seconds in (event.start, event.end)]
            writer.writerow([event.source, *times, event.class_name, f"{event.confidence:.{_CONFIDENCE_DIGITS}f}"])
        return text.getvalue()


def as_json_line(event: Event) -> str:
    """One JSON object with the columns of the CSV as keys, without a newline."""
    times = [round(seconds, _TIME_DIGITS) for seconds in (event.start, event.end)]
    values = [event.source, *times, event.class_name, round(event.confidence, _CONFIDENCE_DIGITS)]
    return json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False)


def as_json(events: Iterable[Event]) -> str:
    """A JSON array of events, one a line, ended by a newline."""
    lines = ",\n".join(f"  {as_json_line(event)}" for event in events)
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def as_text(event: Event) -> str:
    """One line for people, such as `  1:02:03.4 - 1:02:07.0   97%  Archery`."""
    span = f"{clock_time(event.start)} - {clock_time(event.end)}"
    return f"{span:>23}  {100 * event.confidence:3.0f}%  {event.class_name}"


def clock_time(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours from the first hour on: 0:07.2, 59:59.9, 1:00:00.0."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    if minutes < 60:
        return f"{minutes}:{rest / 10:04.1f}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest / 10:04.1f}"


def file_text(path: Path, events: Sequence[Event]) -> str:
    """The text of a file of events; the suffix of `path` selects CSV or JSON."""
    return as_json(events) if path.suffix.lower() == ".json" else as_csv(events)
