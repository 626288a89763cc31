"""`data.class_names`: a file of class names, for data sets whose labels are numbers."""

import json
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from pipeline.console import UserError
from pipeline.sources.paths import missing_advice
from pipeline.sources.source import Clip

__all__ = ["name_classes", "read_class_names"]

_EXPECTED = "give a text file with a class name per line"


def read_class_names(name: str) -> tuple[dict[int, str], bool]:
    """Reads the names by number, and whether the file states the numbers; if not, its lines are numbered from 0.

    Formats: a name per line; `<number> <name>` per line, separated by a space, tab, comma or semicolon (UCF-101's classInd.txt);
    a JSON list; a JSON object {number: name} or {name: number}. Raises UserError for another file, or a number with two names.
    """
    where = f"data.class_names = {name}"
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{where}: not found", advice=missing_advice(path, _EXPECTED)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{where}: {reason}", advice="give a text file in UTF-8 with a class name per line") from None
    pairs, numbered = _from_json(text, where) if text.lstrip().startswith(("{", "[")) else _from_lines(text)
    names: dict[int, str] = {}
    for number, class_name in pairs:
        if not class_name or names.setdefault(number, class_name) != class_name:
            raise UserError(f"{where}: class {number} is {'named twice' if class_name else 'empty'}", advice="keep one name")
    if not names:
        raise UserError(f"{where}: names no class", advice=_EXPECTED)
    return names, numbered


def _from_json(text: str, where: str) -> tuple[list[tuple[int, str]], bool]:
    advice = 'give a list ["walk", "run"] or an object {"0": "walk", "1": "run"}'
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON ({error})", advice=advice) from None
    if isinstance(content, list) and all(isinstance(item, str) for item in content):
        return list(enumerate(map(str.strip, content))), False
    if isinstance(content, dict):
        items = [(key, value) if str(key).strip().isdigit() else (value, key) for key, value in content.items()]
        if all(str(number).strip().isdigit() and isinstance(class_name, str) for number, class_name in items):
            return [(int(number), class_name.strip()) for number, class_name in items], True
    raise UserError(f"{where}: neither a list of names nor an object of numbers and names", advice=advice)


def _from_lines(text: str) -> tuple[list[tuple[int, str]], bool]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [re.fullmatch(r"(\d+)[ \t,;]+(\S.*)", line) for line in lines]
    if len(lines) > 1 and matches[0] is None and all(matches[1:]) and re.fullmatch(r"\w+[,;\t]\s*\w+", lines[0]):
        matches = matches[1:]  # a line of column names: id,name
    if matches and all(matches):
        return [(int(match[1]), match[2].strip().strip('"')) for match in matches], True
    return list(enumerate(lines)), False


def name_classes(clips: Collection[Clip], name: str, background: str | None = None) -> tuple[list[Clip], str]:
    """Replaces class numbers by names; also returns a line that states how the file numbers them.

    The lines of a file without numbers count from 0, or from 1 if no clip is of class 0 and one is of the last number.
    background: a class that is named already. Raises UserError if the classes are not numbers, or one has no name.
    """
    names, numbered = read_class_names(name)
    words = sorted({clip.category for clip in clips if not clip.category.isdecimal()} - {*names.values(), background})
    if words:
        raise UserError(
            f"data.class_names = {name} names numbered classes, but {words[0]!r} is not a number",
            advice="set data.class_names=null, or number the classes",
        )
    used = {int(clip.category) for clip in clips if clip.category.isdecimal()}
    from_one = not numbered and 0 not in used and len(names) in used
    if from_one:
        names = {number + 1: class_name for number, class_name in names.items()}
    unknown = sorted(used - names.keys())
    if unknown:
        raise UserError(
            f"data.class_names = {name}: class {unknown[0]} has no name; the file names {min(names)} to {max(names)}",
            advice="complete the file, or check what the labels count from",
        )
    how = "numbered as it says" if numbered else "counted from 1" if from_one else "counted from 0"
    named = [replace(clip, category=names[int(clip.category)]) if clip.category.isdecimal() else clip for clip in clips]
    return named, f"{len(used)} numbered classes named by {name}, {how}"
