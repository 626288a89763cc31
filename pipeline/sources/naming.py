"""Names of files: what their suffixes and UCF-101's pattern say, which paths are safe, and the names of clips in data/clips."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from pipeline.console import UserError
from pipeline.sources.source import Clip
from pipeline.video.segment import Segment

__all__ = ["folded", "identified", "is_hidden", "is_image", "is_video", "safe_parts", "ucf_group", "ucf_name"]

# These decide what is a video in archives, whose contents cannot be read without fetching them. For files on this machine
# `pipeline.sources.content` reads the first bytes.
_VIDEO_SUFFIXES = (
    ".avi", ".mp4", ".webm", ".mov", ".mkv", ".gif", ".mpg", ".mpeg", ".m4v", ".wmv",
    ".mts", ".m2ts", ".m2t", ".ts", ".flv", ".f4v", ".3gp", ".3g2", ".vob", ".ogv", ".ogm", ".asf", ".divx", ".xvid", ".mxf",
    ".qt", ".m1v", ".m2v", ".mpe", ".mod", ".tod", ".mjpg", ".mjpeg", ".dv", ".dav", ".rm", ".rmvb", ".wtv", ".amv", ".nut",
    ".y4m", ".ivf", ".obu", ".h264", ".264", ".h265", ".265", ".hevc",
)  # fmt: skip
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_UCF_NAME = re.compile(r"v_(?P<category>.+)_g(?P<group>\d+)_c\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


def safe_parts(path: str, where: str) -> tuple[str, ...]:
    """The parts of a relative posix path. Raises UserError if it could leave its folder or has control characters."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or _DRIVE.match(path) or _CONTROL.search(path) or ".." in parts:
        raise UserError(
            f"{where}: unsafe path {path!r}",
            advice="only relative paths with forward slashes and without .. or control characters are accepted",
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: the name {path!r} is not UTF-8, so no manifest can hold it", advice="rename it") from None
    return parts


def is_video(path: str) -> bool:
    """Whether the suffix is that of a video."""
    return PurePosixPath(path).suffix.lower() in _VIDEO_SUFFIXES


def is_image(path: str) -> bool:
    """Whether the suffix is that of a still image."""
    return PurePosixPath(path).suffix.lower() in _IMAGE_SUFFIXES


def is_hidden(parts: Iterable[str]) -> bool:
    """True for files of desktops and editors: `.DS_Store`, `__MACOSX/._a.avi`, `.ipynb_checkpoints/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def folded(name: str) -> str:
    """The form in which file systems that ignore case and Unicode normalisation compare names."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def ucf_name(file: str) -> tuple[str, int] | None:
    """Class and group number of `v_<Class>_gNN_cNN.<suffix>`; None for another name."""
    match = _UCF_NAME.fullmatch(PurePosixPath(file).stem)
    return (match["category"], int(match["group"])) if match else None


def ucf_group(path: str) -> tuple[str, int | None]:
    """The group that a UCF-101 name gives, and its number; for another name the path itself, and None."""
    ucf = ucf_name(path)
    return (f"{ucf[0]}_g{ucf[1]:02d}", ucf[1]) if ucf else (path, None)


def _whole_path(source: str) -> str:
    """A path as one file name. File names have at most 255 bytes, so in a long one a hash replaces the folders."""
    name = "__".join(PurePosixPath(source).parts)
    if len(name.encode()) <= 240:  # leaves room for the suffix of a partial file
        return name
    return f"{hashlib.sha256(source.encode()).hexdigest()[:16]}__{PurePosixPath(source).name}"


def _with_segment(name: str, segment: Segment | None) -> str:
    """`talk.mp4` becomes `talk@00012.400-00015.000.mp4`."""
    path = PurePosixPath(name)
    return name if segment is None else f"{path.stem}@{segment.name}{path.suffix}"


def identified(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with their names, `<class>/<file>`, sorted by that name; of a segment `<class>/<stem>@<start>-<end><suffix>`.

    If two files of a class share a name (`train/jump/1.mp4`, `test/jump/1.mp4`), each is named by its whole path, joined by `__`.
    Names are compared as `folded`, because some file systems do. Raises UserError if even whole paths collide.
    """
    clips = list(clips)
    short = [f"{clip.category}/{PurePosixPath(clip.source).name}" for clip in clips]
    taken = Counter(folded(name) for name, _ in set(zip(short, (clip.source for clip in clips), strict=True)))
    named: dict[str, Clip] = {}
    for clip, name in zip(clips, short, strict=True):
        file = PurePosixPath(clip.source).name if taken[folded(name)] == 1 else _whole_path(clip.source)
        name = f"{clip.category}/{_with_segment(file, clip.segment)}"
        other = named.setdefault(folded(name), replace(clip, clip=name))
        if (other.source, other.segment) != (clip.source, clip.segment):
            raise UserError(f"{other.source} and {clip.source} would both be the clip {name}", advice="rename one")
    return sorted(named.values(), key=lambda clip: clip.clip)
