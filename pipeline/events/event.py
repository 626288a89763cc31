"""An event, and its files: CSV and JSON.

Invariants: times are seconds from the first frame; reading a file gives the events that were written, to the digits written.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.console import UserError

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


def read_events(path: Path) -> list[Event]:
    """Reads events that were found, or annotated ones: a CSV with a header, or the JSON array that `as_json` writes.

    Columns: source or path; class or label; start; end; confidence may be absent. Others are ignored. Raises UserError.
    """
    rows = _read_json_rows(path) if path.suffix.lower() == ".json" else _read_csv_rows(path)
    return [_event(row, f"{path}, {where}") for where, row in rows]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="give a file of events") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})", advice="give a file of events") from None


def _read_csv_rows(path: Path) -> list[tuple[str, dict]]:
    reader = csv.DictReader(_read_text(path).splitlines(), strict=True)
    try:
        rows = [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}", advice=_EXPECTED) from None
    if reader.fieldnames is None:
        raise UserError(f"{path}: is empty", advice=_EXPECTED)
    return rows


def _read_json_rows(path: Path) -> list[tuple[str, dict]]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})", advice=_EXPECTED) from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path}: not an array of objects", advice=_EXPECTED)
    return [(f"event {number}", row) for number, row in enumerate(content, 1)]


_EXPECTED = f"a file of events has the columns {','.join(COLUMNS)}; path and label may stand for source and class"


def _event(row: dict, where: str) -> Event:
    source = row.get("source", row.get("path"))
    class_name = row.get("class", row.get("label"))
    if not source or not class_name:
        raise UserError(f"{where}: has no {'class' if source else 'source'}", advice=_EXPECTED)
    try:
        start, end, confidence = float(row["start"]), float(row["end"]), float(row.get("confidence", 1))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{where}: start, end and confidence should be numbers", advice=_EXPECTED) from None
    if not 0 <= start < end < float("inf") or not 0 <= confidence <= 1:
        message = f"{where}: from {start:g} until {end:g} s with a confidence of {confidence:g}"
        raise UserError(message, advice="an event ends after it starts, and its confidence lies between 0 and 1")
    return Event(str(source), start, end, str(class_name), confidence)


def file_text(path: Path, events: Sequence[Event]) -> str:
    """The text of a file of events; the suffix of `path` selects CSV or JSON."""
    return as_json(events) if path.suffix.lower() == ".json" else as_csv(events)
