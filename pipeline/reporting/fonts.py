"""Fonts and lengths for names in any script: class names are the user's, and figures have to show them.

Invariants: every font comes with a package of this project, so that figures do not depend on what a machine has installed; what
DejaVu Sans, Matplotlib's own, has is drawn with that; characters that no font has are drawn as boxes (Matplotlib's Last Resort
font), and that is said once.
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

# Of Noto Sans by script, symbols and emoji; and of Noto Sans CJK. They are looked for, not imported: the second one would make
# itself everybody's default font.
PACKAGES = ("manimgx_fonts", "notojp_matplotlib")
_DEJAVU = "DejaVu Sans"
_LAST = ("Symbols", "Emoji")  # the fonts that hold a little of everything
_JOINERS = "\u200c\u200d"
_said: set[str] = set()


@functools.cache
def files() -> dict[str, Path]:
    """The fonts in the order they are tried, by the name that Matplotlib gets; those of packages that are absent are left out."""
    found = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations or [] if spec is not None else []
        found += [path for folder in folders for path in Path(folder).rglob("*.[ot]tf") if "Italic" not in path.name]
    found.sort(key=lambda path: (any(word in path.name for word in _LAST), path.name))
    # Names of our own, or a font of the same family that the system has could be taken in place of one.
    return {f"{path.parent.name}/{path.name}": path for path in found}


@functools.cache
def families() -> tuple[str, ...]:
    """What `font.family` is set to. Makes the fonts known to Matplotlib."""
    known = {entry.name for entry in fontManager.ttflist}
    for name, path in files().items():
        if name not in known:
            fontManager.ttflist.append(FontEntry(fname=str(path), name=name, weight=400, size="scalable"))
    return (_DEJAVU, *files())


@functools.cache
def _characters() -> frozenset[int]:
    """What the fonts have, as code points."""
    paths = [Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", *files().values()]
    return frozenset(code for path in paths for code in FT2Font(str(path)).get_charmap())


def missing(text: str) -> list[str]:
    """The characters of `text` that no font has, in order. Controls and selectors are not drawn, so they are never missing."""
    drawn = [letter for letter in dict.fromkeys(text) if not letter.isspace() and unicodedata.category(letter)[0] != "C"]
    if text.isascii():
        return []
    return [letter for letter in drawn if ord(letter) not in _characters() and not _is_selector(letter)]


def say_missing(texts: Iterable[str]) -> None:
    """Tells the user of characters that are drawn as boxes, once each."""
    for text in texts:
        absent = [letter for letter in missing(text) if letter not in _said]
        if absent:
            _said.update(absent)
            lacking = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
            advice = "; `make env` installs the fonts" if lacking else "; tables and pages have them"
            say(f"no font here has {' '.join(absent)} of {' '.join(text.split())!r}: figures show boxes in place of them{advice}")


def _is_selector(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def clusters(text: str) -> list[str]:
    """What a reader takes for one letter each, near enough: a letter with its marks, a conjunct, an emoji of several parts."""
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


def columns(text: str) -> int:
    """How wide a text is, in letters of the Latin alphabet: Chinese and emoji take two each, marks none."""
    return sum(2 if unicodedata.east_asian_width(cluster[0]) in "WF" else 1 for cluster in clusters(text))


def left_to_right(name: str) -> str:
    """A name as part of a line that is read from left to right, though itself it may be Arabic or Hebrew.

    Without the marks around it, such a name would turn the line round, and an arrow in it would point at the wrong end.
    """
    turns = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\u200e{name}\u200e" if turns else name


def shorten(name: str, limit: int = 26) -> str:
    """A name for an axis, `limit` columns at most: the middle of a long one is left out, as names differ at their ends."""
    if columns(name) <= limit:
        return name
    head, tail, letters = [], [], clusters(name)
    while letters and columns("".join(head)) + columns(letters[0]) <= limit - 1 - (limit - 1) // 2:
        head.append(letters.pop(0))
    while letters and columns("".join(tail)) + columns(letters[-1]) <= (limit - 1) // 2:
        tail.insert(0, letters.pop())
    return f"{''.join(head)}…{''.join(tail)}"


def wrapped(name: str, limit: int) -> str:
    """A name in lines of `limit` columns at most, broken between words where there are any that fit."""
    lines = [""]
    for word in name.split():
        joined = f"{lines[-1]} {word}".lstrip()
        if columns(joined) <= limit:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in clusters(word):
            if columns(lines[-1] + letter) > limit:
                lines.append("")
            lines[-1] += letter
    return "\n".join(lines)
