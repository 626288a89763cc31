"""What a file's path says about a clip: its class, its group, and whether the path may be trusted.

One rule for archives, folders and listings. `v_<Class>_gNN_cNN.<suffix>` (UCF-101's names) carries class and group wherever the
file lies; any other video belongs to the class that its folder is named after, and is a group of its own.
A path that could leave its folder is refused before anything is read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from stages.console import UserError

__all__ = ["VIDEO_SUFFIXES", "Clip", "Found", "identified", "is_hidden", "is_video", "named_clip", "safe_parts", "ucf_name"]

VIDEO_SUFFIXES = (".avi", ".mp4", ".webm", ".mov", ".mkv", ".gif", ".mpg", ".mpeg", ".m4v", ".wmv")
_UCF_NAME = re.compile(r"v_(?P<category>.+)_g(?P<group>\d+)_c\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Clip:
    """A video that a source offers.

    source: posix path inside the archive or folder, unique there. category: its class. group: who must stay on one side of a
    split.
    number: UCF-101's group number, None for other names. size: bytes. clip: `<class>/<file>`, its name in data/clips (see
    `identified`).
    split: train, validation or test where a listing says so.
    """

    source: str
    category: str
    group: str
    number: int | None = None
    size: int = 0
    clip: str = ""
    split: str | None = None


@dataclass(frozen=True)
class Found:
    """What a source offers. ignored: files that are not videos. empty: classes with no video. splits: a listing gave splits."""

    clips: list[Clip]
    ignored: int = 0
    empty: list[str] = field(default_factory=list)
    splits: bool = False


def safe_parts(path: str, where: str) -> tuple[str, ...]:
    """The parts of a relative posix path; raises UserError where it is absolute, climbs, or holds what no file name should."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or _DRIVE.match(path) or _CONTROL.search(path) or ".." in parts:
        raise UserError(f"{where}: unsafe path {path!r}; only relative paths with forward slashes and without .. are accepted")
    return parts


def is_video(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def is_hidden(parts: Iterable[str]) -> bool:
    """True for what desktops and editors leave behind: `.DS_Store`, `__MACOSX/._a.avi`, `.ipynb_checkpoints/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def ucf_name(file: str) -> tuple[str, int] | None:
    """Class and group number of `v_<Class>_gNN_cNN.<suffix>`; None for another name."""
    match = _UCF_NAME.fullmatch(PurePosixPath(file).stem)
    return (match["category"], int(match["group"])) if match else None


def named_clip(path: str, size: int, where: str) -> Clip | None:
    """The clip at `path` (posix, relative), read from its name; None where neither its name nor a folder says its class."""
    parts = safe_parts(path, where)
    ucf = ucf_name(parts[-1])
    if ucf:
        category, number = ucf
        return Clip(path, category, f"{category}_g{number:02d}", number, size)
    if len(parts) < 2:
        return None
    return Clip(path, parts[-2], group=path, size=size)


def identified(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with their names in data/clips, `<class>/<file>`, sorted by that name.

    Where two files of a class share a name (`one/jump/1.mp4`, `two/jump/1.mp4`), each takes its whole path, joined by `__`. Names
    are compared without case, because some file systems do. Raises UserError where even whole paths collide.
    """
    clips = list(clips)
    short = [f"{clip.category}/{PurePosixPath(clip.source).name}" for clip in clips]
    taken: dict[str, int] = {}
    for name in short:
        taken[name.lower()] = taken.get(name.lower(), 0) + 1
    named: dict[str, Clip] = {}
    for clip, name in zip(clips, short, strict=True):
        if taken[name.lower()] > 1:
            name = f"{clip.category}/{'__'.join(PurePosixPath(clip.source).parts)}"
        other = named.setdefault(name.lower(), replace(clip, clip=name))
        if other.source != clip.source:
            raise UserError(f"{other.source} and {clip.source} would both be the clip {name}; rename one")
    return sorted(named.values(), key=lambda clip: clip.clip)
