"""Names that look like those of copies (`Copy of x`, `x (1)`, `x_flipped`): a hint for the reader, never a proof."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["named_like_copies"]

_COPIED = r"copy|copied|dup|duplicate|flip|flipped|hflip|mirror|mirrored|resized|trimmed|compressed|reencoded"
_MARKS = (
    re.compile(r"copy(?: \(?\d+\)?)? of (?P<name>.+)", re.IGNORECASE),
    re.compile(r"(?P<name>.+?)\s?\(\d{1,3}\)"),
    re.compile(rf"(?P<name>.+?)[ _.-]+(?:{_COPIED})[ _-]?(?:\(?\d{{1,3}}\)?)?", re.IGNORECASE),
)


def named_like_copies(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (original, copy) of names in one folder of which the second looks like that of a copy of the first, sorted."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    paths = sorted(set(names))
    for name in paths:
        path = PurePosixPath(name)
        found[path.parent.as_posix(), path.stem.casefold()].append(name)
    pairs = []
    for name in paths:
        path = PurePosixPath(name)
        for mark in _MARKS:
            match = mark.fullmatch(path.stem)
            if match:
                pairs += [(original, name) for original in found.get((path.parent.as_posix(), match["name"].casefold()), [])]
    return sorted(set(pairs))
