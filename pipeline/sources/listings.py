"""Reading a listing: a CSV, TSV or text file, one video a line, with whatever names its columns have.

The separator, the columns and whether there is a first line of names are found out, and said. A line that does not fit the
others is an error that shows how it was read.
"""

import csv
import difflib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import UserError
from pipeline.sources.folders import missing_advice
from pipeline.sources.layouts import split_named
from pipeline.sources.naming import is_video

__all__ = ["Listing", "Row", "read_listing"]

# Names that columns have in data sets and tools, the one to take first where there are several.
_ALIASES = {
    "path": "path filepath file_path video_path clip_path relative_path video file filename file_name video_name video_file clip "
    "clip_name name video_id id",
    "class": "class class_name tag label label_name action category activity class_id label_id class_index",
    "group": "group group_id subject subject_id person person_id participant actor scene scene_id session session_id",
    "split": "split subset set partition usage",
}
_YOUTUBE = {"youtube_id": "youtube_id ytid", "start": "time_start start", "end": "time_end end"}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Row:
    """One listed video, as text. line: its line in the file, the first being 1. path: as written, or a YouTube id. label: None
    where there is no column for it. seconds: start and end in a YouTube video; None in other listings.
    """

    line: int
    path: str
    label: str | None
    group: str = ""
    split: str = ""
    seconds: tuple[int, int] | None = None


@dataclass(frozen=True)
class Listing:
    """A listing that was read. name: its path. understood: which column was taken for what, one line."""

    name: str
    rows: list[Row]
    understood: str


def read_listing(name: str, is_here: Callable[[str], bool]) -> Listing:
    """Reads the listing at path `name`.

    is_here: whether a path names a video; tells a first line of values from one of names.
    Raises UserError for a file that is none, for columns that cannot be told, and for a line that does not fit.
    """
    where = f"data.listing = {name}"
    lines = re.split(r"\r\n|\n|\r", _text(name, where))
    skip = 1 if lines and re.fullmatch(r"sep=.", lines[0].strip()) else 0  # Excel's first line
    first = next((number for number in range(skip, len(lines)) if lines[number].strip()), None)
    if first is None:
        raise UserError(f"{where}: not a CSV file: it is empty", advice="list the videos with columns path and label")
    for separator in _SEPARATORS:
        names = [_normal(value) for value in _values(lines[first], separator, where, first + 1)]
        columns = _columns(names)
        if {"path", "class"} <= columns.keys():
            return _with_header(name, lines, first, separator, names, columns)
    values = _headless_values(lines[first], is_here)
    if values is None:
        raise _no_columns(where, lines[first])
    return _without_header(name, lines, first, is_here, values[0])


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
        raise UserError(
            f"{where}, row {line}: not UTF-8 (byte 0x{content[error.start]:02x})",
            advice="save it as UTF-8 (in Excel: CSV UTF-8)",
        ) from None
    if "\0" in text:
        raise UserError(f"{where}: not a text file", advice="save it as a CSV file")
    _refuse_annotations(text.lstrip(), where)
    return text


def _refuse_annotations(text: str, where: str) -> None:
    """Raises UserError for JSON and XML, which annotation tools write: they describe parts of videos."""
    kind = None
    if text.startswith("<"):
        kind = "a CVAT export" if "<annotations" in text[:2000] else "XML"
    elif text.startswith(("{", "[")):
        try:
            json.loads(text)
        except json.JSONDecodeError:
            return
        tool = {"segment": "ActivityNet", "timelinelabels": "Label Studio", "annotations": "Label Studio", "shapes": "CVAT"}
        kind = next((f"a {word} export" for key, word in tool.items() if f'"{key}"' in text), "JSON")
    if kind:
        parts = "which marks segments of videos" if kind not in ("XML", "JSON") else "not a CSV file"
        raise UserError(
            f"{where}: is {kind.replace('a Act', 'an Act')}, {parts}; only whole videos can be listed",
            advice="cut the segments into files (ffmpeg -ss START -to END), and list these in a CSV of path,label",
        )


def _normal(name: str) -> str:
    return re.sub(r"[ .-]+", "_", name.strip().lower())


def _values(line: str, separator: str, where: str, number: int) -> list[str]:
    try:
        return [value.strip() for value in next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise UserError(
            f"{where}, row {number}: {error}: {line.strip()[:100]}",
            advice='a value with quotes or separators needs quotes around it, and its own doubled: "5"" pipe.mp4"',
        ) from None


def _columns(names: list[str]) -> dict[str, int]:
    """Position of each role (path, class, group, split; start and end with a YouTube id) among the normalised names."""
    roles = {role: words.split() for role, words in _ALIASES.items()}
    youtube = {role: words.split() for role, words in _YOUTUBE.items()}
    if all(any(word in names for word in words) for words in youtube.values()):
        roles["path"] = youtube["youtube_id"]
        roles |= {"start": youtube["start"], "end": youtube["end"]}
    return {role: names.index(found) for role, words in roles.items() if (found := next((w for w in words if w in names), None))}


def _no_columns(where: str, line: str) -> UserError:
    separator = max(_SEPARATORS, key=line.count)
    names = _values(line, separator, where, 1)
    columns = _columns([_normal(name) for name in names])
    missing = " and ".join(word for role, word in (("path", "path"), ("class", "label")) if role not in columns)
    close = [
        f"{name!r} looks like {match[0]!r}"
        for name in names
        if (match := difflib.get_close_matches(_normal(name), ("path", "label", "class", "video", "file"), n=1, cutoff=0.75))
        and _normal(name) not in ("path", "label", "class", "video", "file")
    ]
    hint = f" ({', '.join(close)})" if close else ""
    return UserError(
        f"{where}: no column {missing} in the first line, which is: {line.strip()[:100]}{hint}",
        advice="name the columns in it, such as path,label[,group,split]; or list paths below data.folder",
    )


def _with_header(name: str, lines: list[str], first: int, separator: str, names: list[str], columns: dict[str, int]) -> Listing:
    where = f"data.listing = {name}"
    others = [names[position] for position in range(len(names)) if position not in columns.values() and names[position]]
    for column in others:
        free = [role for role in ("group", "split") if role not in columns]
        close = difflib.get_close_matches(column, free, n=1, cutoff=0.8)
        if close:
            raise UserError(f"{where}: column {column!r} looks like {close[0]!r}", advice="rename it, or drop it")
    named = ", ".join(names)
    records = _records(lines, first + 1, separator, where, len(names), f"the first line names {len(names)} columns ({named})")
    if "split" in columns and names[columns["split"]] != "split":
        found = {values[columns["split"]] for _, values in records} - {""}
        if not any(map(split_named, found)):  # a column `set` may hold anything
            others.append(names[columns.pop("split")])
    rows = []
    for line, values in records:
        value = {role: values[position] for role, position in columns.items()}
        seconds = _seconds(value, where, line) if "start" in value else None
        rows.append(Row(line, value["path"], value["class"], value.get("group", ""), value.get("split", ""), seconds))
    if not rows:
        raise UserError(f"{where}: lists no files", advice="add a line for each video")
    taken = ", ".join(f"{role} from {names[position]!r}" for role, position in columns.items() if role not in ("start", "end"))
    kinetics = "Kinetics' columns: " if "start" in columns else ""
    unused = f"; columns not used: {', '.join(others)}" if others else ""
    return Listing(name, rows, f"{len(rows)} rows by {_SEPARATORS[separator]}, {kinetics}{taken}{unused}")


def _records(lines: list[str], first: int, separator: str, where: str, width: int, expected: str) -> list[tuple[int, list[str]]]:
    """(line, values) of each line that is not empty, with as many values as there are columns; empty ones may lack at the end."""
    records = []
    reader = csv.reader((line + "\n" for line in lines[first:]), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{where}, row {first + reader.line_num}: {error}",
                advice='a value with quotes in it needs quotes around it, and its own doubled: "5"" pipe.mp4"',
            ) from None
        if values is None:
            return records
        values = [value.strip() for value in values]
        if not any(values):
            continue
        line = first + reader.line_num
        while len(values) > width and not values[-1]:
            values.pop()
        if len(values) > width:
            read = " | ".join(values)
            raise UserError(
                f"{where}, row {line}: {len(values)} values ({read}), but {expected}",
                advice=f'a value that holds {_SEPARATORS[separator]} needs quotes around it: "a{separator} b.mp4"',
            )
        if len(values) < min(2, width):
            raise UserError(f"{where}, row {line}: only one value ({values[0]}), but {expected}", advice="complete the row")
        records.append((line, values + [""] * (width - len(values))))


def _seconds(value: dict[str, str], where: str, line: int) -> tuple[int, int]:
    try:
        return int(float(value["start"])), int(float(value["end"]))
    except (ValueError, OverflowError):
        raise UserError(
            f"{where}, row {line}: time_start and time_end are {value['start']!r} and {value['end']!r}", advice="give seconds"
        ) from None


def _headless_values(line: str, is_here: Callable[[str], bool]) -> tuple[str, list[str]] | None:
    """Separator and values of a line that is no line of names: its first value is a video. A space separates from the right."""
    for separator in (*_SEPARATORS, " "):
        values = _headless_split(line, separator, is_here)
        if is_here(values[0]) or (is_video(values[0]) and len(values) > 1):
            return separator, values
    return None


def _headless_split(line: str, separator: str, is_here: Callable[[str], bool]) -> list[str]:
    if separator != " ":
        return _values(line, separator, "listing", 1)
    frames = line.split()  # <folder> <number of frames> <label>, as frame lists have it
    if len(frames) > 2 and frames[-2].isdigit() and is_here(" ".join(frames[:-2])):
        return [" ".join(frames[:-2]), frames[-1]]
    return line.strip().rsplit(maxsplit=1) if not is_here(line.strip()) else [line.strip()]


def _without_header(name: str, lines: list[str], first: int, is_here: Callable[[str], bool], separator: str) -> Listing:
    where = f"data.listing = {name}"
    if separator == " ":
        numbered = [(number, line) for number, line in enumerate(lines, start=1) if number > first and line.strip()]
        records = [(number, _headless_split(line, " ", is_here)) for number, line in numbered]
    else:
        width = len(_values(lines[first], separator, where, first + 1))
        records = _records(lines, first, separator, where, width, f"row {first + 1} has {width}")
    width = max(len(values) for _, values in records)
    if width > 3 or (width == 3 and not all(split_named(values[2]) for _, values in records)):
        raise UserError(
            f"{where}: no line of column names, and {width} values a row: {lines[first].strip()[:100]}",
            advice="add a first line such as path,label[,group,split]",
        )
    if len({len(values) for _, values in records}) > 1:
        line, values = next((line, values) for line, values in records if len(values) < width)
        raise UserError(f"{where}, row {line}: only {' | '.join(values)}, others have {width} values", advice="complete the row")
    rows = [Row(line, values[0], values[1] if width > 1 else None, split="".join(values[2:])) for line, values in records]
    what = {1: "path (the folder is the class)", 2: "path and label", 3: "path, label and split"}[width]
    by = "spaces" if separator == " " else _SEPARATORS[separator]
    return Listing(name, rows, f"{len(rows)} rows by {by}, no line of column names, taken for {what}")
