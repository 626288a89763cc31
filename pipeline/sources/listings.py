"""Reads a listing: a CSV, TSV or text file with one video, or one segment of a video, per line.

Separator, columns and whether there is a header are inferred, and stated in `Listing.understood`. A line that does not fit the
others is an error that shows how it was read.
"""

import csv
import difflib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import UserError
from pipeline.sources.layouts import split_named
from pipeline.sources.naming import is_video
from pipeline.sources.paths import missing_advice

__all__ = ["SEPARATORS", "Listing", "Row", "column_roles", "read_listing"]

# Names of columns in data sets and tools; of several in one file, the first here is used.
_ALIASES = {
    "path": "path filepath file_path video_path clip_path relative_path video file filename file_name video_name video_file clip "
    "clip_name name video_id id",
    "class": "class class_name tag label label_name action category activity class_id label_id class_index",
    "group": "group group_id subject subject_id person person_id participant actor scene scene_id session session_id",
    "split": "split subset set partition usage",
    "start": "start start_time time_start t_start segment_start start_sec start_secs start_second start_seconds start_s "
    "begin begin_time time_begin t_begin segment_begin begin_sec begin_seconds",
    "end": "end end_time time_end t_end segment_end end_sec end_secs end_second end_seconds end_s "
    "stop stop_time time_stop t_stop stop_sec stop_seconds",
}
_OTHER_UNITS = re.compile(r"(start|begin|end|stop)_(frames?|ms|msecs?)|(frames?|ms|msecs?)_(start|begin|end|stop)")
_LENGTH = re.compile(r"(segment_|clip_)?(duration|length|dur|len)(_(s|secs?|seconds?|ms|msecs?|frames?))?")
_YOUTUBE = {"path": "youtube_id ytid", "start": "time_start start", "end": "time_end end"}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NUMBER = re.compile(r"\d+")
_QUOTES = 'a value with quotes or separators needs quotes around it, and its own doubled: "5"" pipe.mp4"'
_COLUMNS = "path,label[,start,end,group,split]"


@dataclass(frozen=True)
class Row:
    """One listed video, or a segment of one.

    Attributes:
      line: its line in the file, counted from 1.
      path: as written, or a YouTube id.
      label: None if there is no column for it.
      start, end: of the segment, as written; both empty for a whole video.
      seconds: of a video that was cut from YouTube, its start and end there; None in other listings.
    """

    line: int
    path: str
    label: str | None
    group: str = ""
    split: str = ""
    start: str = ""
    end: str = ""
    seconds: tuple[int, int] | None = None


@dataclass(frozen=True)
class Listing:
    """A listing that was read. name: its path. understood: which column is used for what, one line."""

    name: str
    rows: list[Row]
    understood: str


def read_listing(name: str, is_here: Callable[[str], bool]) -> Listing:
    """Reads the listing at path `name`.

    is_here: whether a path names a file; distinguishes a line of values from a header.
    Raises UserError for a file that is not a listing, for unknown columns, and for a line that does not fit.
    """
    where = f"data.listing = {name}"
    lines = re.split(r"\r\n|\n|\r", _text(name, where))
    skip = 1 if re.fullmatch(r' *"?sep=."? *', lines[0]) else 0  # Excel's first line
    first = next((number for number in range(skip, len(lines)) if lines[number].strip()), None)
    if first is None:
        raise UserError(f"{where}: not a CSV file: it is empty", advice="list the videos with columns path and label")
    for separator in SEPARATORS:
        names = [_normal(value) for value in _values(lines[first], separator, where, first + 1)]
        columns = _columns(names)
        if {"path", "class"} <= columns.keys():
            return _with_header(name, lines, first, separator, names, columns)
    separator = _headless_separator(lines[first], is_here)
    if separator is None:
        raise _no_columns(where, lines[first])
    return _without_header(name, lines, first, is_here, separator)


def _text(name: str, where: str) -> str:
    path = Path(name).expanduser()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{where}: not found", advice=missing_advice(path, "check the path")) from None
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}", advice="give the path of a CSV file that can be read") from None
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"{where}, row {line}: not UTF-8 (byte 0x{content[error.start]:02x})"
        raise UserError(message, advice="save it as UTF-8 (in Excel: CSV UTF-8)") from None
    if "\0" in text:
        raise UserError(f"{where}: not a text file", advice="save it as a CSV file")
    kind = "XML" if text.lstrip().startswith("<") else "JSON" if _is_json(text) else None
    if kind:
        # Annotation tools (CVAT, Label Studio, ActivityNet's) export these; they mark segments of videos.
        advice = "write a CSV of path,label,start,end with a row for each segment, times in seconds (docs/segments.md)"
        raise UserError(f"{where}: is {kind}, not a CSV file", advice=advice)
    return text


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[ .()\[\]-]+", "_", name.strip().lower()).rstrip("_")  # `Start (s)` is start_s


def _values(line: str, separator: str, where: str, number: int) -> list[str]:
    try:
        return [value.strip() for value in next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise UserError(f"{where}, row {number}: {error}: {line.strip()[:100]}", advice=_QUOTES) from None


def column_roles(header: Sequence[str]) -> dict[str, int]:
    """The index of each role (path, class, group, split, start, end) among the names of columns as they are written."""
    return _columns([_normal(name) for name in header])


def _columns(names: list[str]) -> dict[str, int]:
    """The index of each role (path, class, group, split, start, end) among the normalised names."""
    roles = dict(_ALIASES)
    if all(any(alias in names for alias in aliases.split()) for aliases in _YOUTUBE.values()):
        roles |= _YOUTUBE
    found = {role: next((alias for alias in aliases.split() if alias in names), None) for role, aliases in roles.items()}
    return {role: names.index(name) for role, name in found.items() if name is not None}


def _no_columns(where: str, line: str) -> UserError:
    columns = column_roles(_values(line, max(SEPARATORS, key=line.count), where, 1))
    missing = " and ".join(word for role, word in (("path", "path"), ("class", "label")) if role not in columns)
    message = f"{where}: no column {missing} in the first line, which is: {line.strip()[:100]}"
    return UserError(message, advice=f"name the columns in it, such as {_COLUMNS}; or list paths below data.folder")


def _with_header(name: str, lines: list[str], first: int, separator: str, names: list[str], columns: dict[str, int]) -> Listing:
    where = f"data.listing = {name}"
    unused = [names[index] for index in range(len(names)) if index not in columns.values() and names[index]]
    for column in unused:
        close = difflib.get_close_matches(column, {"group", "split"} - columns.keys(), n=1, cutoff=0.8)
        if close:
            raise UserError(f"{where}: column {column!r} looks like {close[0]!r}", advice="rename it, or drop it")
    twice = next((names[index] for index in columns.values() if names.count(names[index]) > 1), None)
    if twice:
        raise UserError(f"{where}: two columns are called {twice!r}", advice="rename or drop one")
    if not {"start", "end"} <= columns.keys():
        # Without start and end these are facts about whole files; next to only one of them, the other end of its segments.
        length = _LENGTH if {"start", "end"} & columns.keys() else _OTHER_UNITS
        units = next((column for column in unused if _OTHER_UNITS.fullmatch(column) or length.fullmatch(column)), None)
        if units:
            advice = "give columns start and end in seconds (a frame's number over the frame rate), or drop it"
            raise UserError(
                f"{where}: column {units!r} looks like part of a segment that is not start and end in seconds", advice=advice
            )
    expected = f"the first line names {len(names)} columns ({', '.join(names)})"
    records = _records(lines, first + 1, separator, where, len(names), expected)
    if "split" in columns and names[columns["split"]] != "split":
        found = {values[columns["split"]] for _, values in records} - {""}
        if not any(map(split_named, found)):  # a column `set` may hold anything
            unused.append(names[columns.pop("split")])
    trimmed = names[columns["path"]] in _YOUTUBE["path"].split() and {"start", "end"} <= columns.keys()
    rows = []
    for line, values in records:
        value = dict.fromkeys(("group", "split", "start", "end"), "") | {role: values[index] for role, index in columns.items()}
        times = {"seconds": _seconds(value, where, line)} if trimmed else {"start": value["start"], "end": value["end"]}
        rows.append(Row(line, value["path"], value["class"], value["group"], value["split"], **times))
    if not rows:
        raise UserError(f"{where}: lists no files", advice="add a line for each video")
    shown = columns.keys() - {"start", "end"} if trimmed else columns.keys()
    used = ", ".join(f"{role} from {names[index]!r}" for role, index in columns.items() if role in shown)
    if {"start", "end"} & shown:
        segments = sum(bool(row.start or row.end) for row in rows)
        others = len(rows) - segments
        whole = f", {others} whole video{'s' * (others != 1)}" if others else ""
        used += f": {segments} segment{'s' * (segments != 1)}{whole}"
    kinetics = "Kinetics' columns: " if trimmed else ""
    rest = f"; columns not used: {', '.join(unused)}" if unused else ""
    return Listing(name, rows, f"{len(rows)} rows by {SEPARATORS[separator]}, {kinetics}{used}{rest}")


def _records(lines: list[str], first: int, separator: str, where: str, width: int, expected: str) -> list[tuple[int, list[str]]]:
    """(line, `width` values) of each line that is not empty; empty values may be missing at its end."""
    records = []
    reader = csv.reader((line + "\n" for line in lines[first:]), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{where}, row {first + reader.line_num}: {error}", advice=_QUOTES) from None
        if values is None:
            return records
        values = [value.strip() for value in values]
        if not any(values):
            continue
        line = first + reader.line_num
        while len(values) > width and not values[-1]:
            values.pop()
        if len(values) > width:
            message = f"{where}, row {line}: {len(values)} values ({' | '.join(values)}), but {expected}"
            advice = f'a value that holds {SEPARATORS[separator]} needs quotes around it: "a{separator} b.mp4"'
            advice += ', "12,4"' if separator == "," and any(map(_NUMBER.fullmatch, values)) else ""
            raise UserError(message, advice=advice)
        if len(values) < min(2, width):
            raise UserError(f"{where}, row {line}: only one value ({values[0]}), but {expected}", advice="complete the row")
        records.append((line, values + [""] * (width - len(values))))


def _seconds(value: dict[str, str], where: str, line: int) -> tuple[int, int]:
    try:
        return int(float(value["start"])), int(float(value["end"]))
    except (ValueError, OverflowError):
        message = f"{where}, row {line}: time_start and time_end are {value['start']!r} and {value['end']!r}"
        raise UserError(message, advice="give seconds") from None


def _headless_separator(line: str, is_here: Callable[[str], bool]) -> str | None:
    """The separator of a line that is not a header: its first value is a video."""
    for separator in (*SEPARATORS, " "):
        values = _headless_values(line, separator, is_here)
        if is_here(values[0]) or (is_video(values[0]) and len(values) > 1):
            return separator
    return None


def _headless_values(line: str, separator: str, is_here: Callable[[str], bool]) -> list[str]:
    """The values of a line without column names. A path may contain spaces, so spaces separate from the right."""
    if separator != " ":
        return _values(line, separator, "listing", 1)
    words = line.split()  # <folder> <number of frames> <label>, as in lists of frames
    if len(words) > 2 and words[-2].isdigit() and is_here(" ".join(words[:-2])):
        return [" ".join(words[:-2]), words[-1]]
    return [line.strip()] if is_here(line.strip()) else line.strip().rsplit(maxsplit=1)


def _without_header(name: str, lines: list[str], first: int, is_here: Callable[[str], bool], separator: str) -> Listing:
    where = f"data.listing = {name}"
    if separator == " ":
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if number > first and line.strip()]
        records = [(number, _headless_values(line, " ", is_here)) for number, line in numbered]
    else:
        width = len(_values(lines[first], separator, where, first + 1))
        records = _records(lines, first, separator, where, width, f"row {first + 1} has {width}")
    width = max(len(values) for _, values in records)
    if width > 3 or (width == 3 and not all(split_named(values[2]) for _, values in records)):
        message = f"{where}: no line of column names, and {width} values a row: {lines[first].strip()[:100]}"
        raise UserError(message, advice=f"add a first line such as {_COLUMNS}")
    short = next(((line, values) for line, values in records if len(values) < width), None)
    if short:
        message = f"{where}, row {short[0]}: only {' | '.join(short[1])}, others have {width} values"
        raise UserError(message, advice="complete the row")
    rows = [Row(line, values[0], values[1] if width > 1 else None, split="".join(values[2:])) for line, values in records]
    used = {1: "path (the folder is the class)", 2: "path and label", 3: "path, label and split"}[width]
    by = "spaces" if separator == " " else SEPARATORS[separator]
    return Listing(name, rows, f"{len(rows)} rows by {by}, no line of column names, read as {used}")
