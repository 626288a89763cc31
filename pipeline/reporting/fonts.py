"""Fonts for class names in any script, and the width of such names.

Invariants: every font comes with a dependency of this project, so figures do not depend on the fonts of the machine; DejaVu Sans,
Matplotlib's default, is tried first; a character that no font has is drawn as a box (Matplotlib's Last Resort font), with one
warning.
"""

import functools
import importlib.util
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.font_manager import FontEntry, fontManager
from matplotlib.ft2font import FT2Font

from pipeline.console import say

# Noto Sans by script, symbols and emoji; and Noto Sans CJK. Located, not imported: importing the second changes Matplotlib's
# default font.
PACKAGES = ("manimgx_fonts", "notojp_matplotlib")
_DEJAVU = "DejaVu Sans"
_LAST = ("Symbols", "Emoji")  # fonts with a few characters of many scripts
_JOINERS = "\u200c\u200d"
_warned: set[str] = set()


@functools.cache
def files() -> dict[str, Path]:
    """The font files in the order they are tried, by the family name they are registered under; without absent packages."""
    found = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations or [] if spec is not None else []
        found += [path for folder in folders for path in Path(folder).rglob("*.[ot]tf") if "Italic" not in path.name]
    found.sort(key=lambda path: (any(word in path.name for word in _LAST), path.name))
    # Own family names, as Matplotlib could prefer an installed font of the same family.
    return {f"{path.parent.name}/{path.name}": path for path in found}


@functools.cache
def families() -> tuple[str, ...]:
    """Registers the fonts with Matplotlib and returns the value of `font.family` for any text."""
    known = {entry.name for entry in fontManager.ttflist}
    for name, path in files().items():
        if name not in known:
            fontManager.ttflist.append(FontEntry(fname=str(path), name=name, weight=400, size="scalable"))
    return (_DEJAVU, *files())


def families_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The value of `font.family` that draws these texts as `families()` does, but faster: every font is looked up for each."""
    lacking = {ord(letter) for text in texts for letter in text} - _dejavu_characters()
    if not lacking:
        return (_DEJAVU,)
    having = _characters_by_family()
    return tuple(name for name in families() if name == _DEJAVU or not having[name].isdisjoint(lacking))


@functools.cache
def _dejavu_characters() -> frozenset[int]:
    return frozenset(FT2Font(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf")).get_charmap())


@functools.cache
def _characters_by_family() -> dict[str, frozenset[int]]:
    """The code points of each font but DejaVu Sans."""
    return {name: frozenset(FT2Font(str(path)).get_charmap()) for name, path in files().items()}


@functools.cache
def _characters() -> frozenset[int]:
    """The code points that some font has."""
    return _dejavu_characters().union(*_characters_by_family().values())


def missing_characters(text: str) -> list[str]:
    """The characters of `text` that no font has, in order. Control characters and variation selectors are not drawn."""
    if text.isascii():
        return []
    drawn = [letter for letter in dict.fromkeys(text) if not letter.isspace() and unicodedata.category(letter)[0] != "C"]
    return [letter for letter in drawn if ord(letter) not in _characters() and not _is_variation_selector(letter)]


def warn_of_missing(texts: Iterable[str]) -> None:
    """Warns the user of characters that are drawn as boxes, once each."""
    for text in texts:
        absent = [letter for letter in missing_characters(text) if letter not in _warned]
        if absent:
            _warned.update(absent)
            lacking = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
            advice = "; `make env` installs the fonts" if lacking else "; tables and pages show them"
            say(f"no font has {' '.join(absent)} of {' '.join(text.split())!r}: figures show boxes instead{advice}")


def _is_variation_selector(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def split_graphemes(text: str) -> list[str]:
    """Approximate grapheme clusters: a letter with its marks, a conjunct, an emoji of several parts."""
    found: list[str] = []
    for letter in text:
        before = found[-1] if found else ""
        joins = unicodedata.category(letter)[0] == "M" or letter in _JOINERS or "\U0001f3fb" <= letter <= "\U0001f3ff"
        joined = before[-1:] == _JOINERS[1] or (before and unicodedata.combining(before[-1]) == 9 and letter.isalpha())
        flag = len(before) == 1 and all("\U0001f1e6" <= one <= "\U0001f1ff" for one in (before, letter))
        if found and (joins or joined or flag):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def display_width(text: str) -> int:
    """Width in columns of a terminal: Chinese and emoji take two each, combining marks none."""
    return sum(2 if unicodedata.east_asian_width(grapheme[0]) in "WF" else 1 for grapheme in split_graphemes(text))


def keep_left_to_right(name: str) -> str:
    """Keeps a line left-to-right around an Arabic or Hebrew name, so that an arrow in it points at the right name."""
    right_to_left = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\u200e{name}\u200e" if right_to_left else name


def shorten(name: str, limit: int = 26) -> str:
    """Shortens a name to `limit` columns by cutting out its middle, as names tend to differ at their ends."""
    if display_width(name) <= limit:
        return name
    head, tail, letters = [], [], split_graphemes(name)
    while letters and display_width("".join(head)) + display_width(letters[0]) <= limit - 1 - (limit - 1) // 2:
        head.append(letters.pop(0))
    while letters and display_width("".join(tail)) + display_width(letters[-1]) <= (limit - 1) // 2:
        tail.insert(0, letters.pop())
    return f"{''.join(head)}…{''.join(tail)}"


def wrap(name: str, limit: int) -> str:
    """Breaks a name into lines of at most `limit` columns, between words where they fit."""
    lines = [""]
    for word in name.split():
        joined = f"{lines[-1]} {word}".lstrip()
        if display_width(joined) <= limit:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in split_graphemes(word):
            if display_width(lines[-1] + letter) > limit:
                lines.append("")
            lines[-1] += letter
    return "\n".join(lines)
