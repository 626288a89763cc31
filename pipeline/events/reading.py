"""Reads files of events: those that predict wrote, and annotated ones, which may be listings.

Invariant: reading a file gives the events that were written, to the digits written.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import UserError
from pipeline.events.event import COLUMNS, Event
from pipeline.sources.listings import SEPARATORS, column_roles
from pipeline.sources.segments import parse_seconds

_EXPECTED = f"a file of events has the columns {','.join(COLUMNS)}, or those of a listing: path,label,start,end"


def read_events(path: Path) -> list[Event]:
    """Reads events that were found, or annotated ones: a table with a header, or the JSON array that `as_json` writes.

    Columns: those that are written, or those of a listing (`pipeline.sources.listings`): path, label, start, end or one of their
    other names, separated as there; confidence may be absent. Others are ignored. Times are seconds or hh:mm:ss, as in a
    listing. Raises UserError.
    """
    rows = _read_json_rows(path) if path.suffix.lower() == ".json" else _read_table_rows(path)
    return [_event(row, f"{path}, {where}") for where, row in rows]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="give a file of events") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})", advice="give a file of events") from None


def _read_table_rows(path: Path) -> list[tuple[str, dict]]:
    lines = _read_text(path).splitlines()
    if not lines:
        raise UserError(f"{path}: is empty", advice=_EXPECTED)
    separator = next((one for one in SEPARATORS if "source" in _columns(lines[0].split(one))), ",")
    reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}", advice=_EXPECTED) from None


def _read_json_rows(path: Path) -> list[tuple[str, dict]]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})", advice=_EXPECTED) from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{path}: not an array of objects", advice=_EXPECTED)
    return [(f"event {number}", row) for number, row in enumerate(content, 1)]


def _columns(header: Sequence[str]) -> dict[str, str]:
    """The names of the columns that hold the source, class, start, end and confidence, as far as there are."""
    given = {name.strip().lower(): name for name in header}
    if {"source", "class", "start", "end"} <= given.keys():
        return {name: given[name] for name in COLUMNS if name in given}
    roles = {role: header[index] for role, index in column_roles(header).items()}
    source = given.get("source", roles.pop("path", None))
    others = {name: given[name] for name in ("confidence",) if name in given}
    return roles | others | ({} if source is None else {"source": source})


def _event(row: dict, where: str) -> Event:
    columns = _columns([name for name in row if name is not None])  # under None are values beyond the last column
    value = {role: "" if row[name] is None else str(row[name]).strip() for role, name in columns.items()}
    for role in ("source", "class", "start", "end"):
        if not value.get(role):
            raise UserError(f"{where}: has no {role}", advice=_EXPECTED)
    try:
        start, end = (parse_seconds(role, value[role]) for role in ("start", "end"))
        confidence = float(value.get("confidence") or 1)
    except ValueError as error:
        raise UserError(f"{where}: {error}", advice="times are seconds or hh:mm:ss, and a confidence is a number") from None
    if not start < end or not 0 <= confidence <= 1:
        message = f"{where}: from {start:g} until {end:g} s with a confidence of {confidence:g}"
        raise UserError(message, advice="an event ends after it starts, and its confidence lies between 0 and 1")
    return Event(value["source"], start, end, value["class"], confidence)
