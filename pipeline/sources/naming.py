"""Clips and what a source offers; what UCF-101's names say; which paths may be trusted.

Which folder is the class, the split or the group is in `layouts`; what a listing says, in `listed`.
A path that could leave its folder is refused before anything is read.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from pipeline.console import UserError
from pipeline.sources.left_out import LeftOut

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "Found",
    "folded",
    "identified",
    "is_hidden",
    "is_image",
    "is_video",
    "safe_parts",
    "ucf_group",
    "ucf_name",
]

# What is taken for a video by name alone, where the content cannot be read without fetching it (remote archives). For files on
# this machine `pipeline.sources.content` reads the first bytes.
VIDEO_SUFFIXES = (
    ".avi", ".mp4", ".webm", ".mov", ".mkv", ".gif", ".mpg", ".mpeg", ".m4v", ".wmv",
    ".mts", ".m2ts", ".m2t", ".ts", ".flv", ".f4v", ".3gp", ".3g2", ".vob", ".ogv", ".ogm", ".asf", ".divx", ".xvid", ".mxf",
    ".qt", ".m1v", ".m2v", ".mpe", ".mod", ".tod", ".mjpg", ".mjpeg", ".dv", ".dav", ".rm", ".rmvb", ".wtv", ".amv", ".nut",
    ".y4m", ".ivf", ".obu", ".h264", ".264", ".h265", ".265", ".hevc",
)  # fmt: skip
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_UCF_NAME = re.compile(r"v_(?P<category>.+)_g(?P<group>\d+)_c\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Clip:
    """A video that a source offers, or a folder of images that is one.

    source: posix path inside the archive or folder, unique there. category: its class. group: who must stay on one side of a
    split.
    number: UCF-101's group number, None for other names. size: bytes. clip: `<class>/<file>`, its name in data/clips (see
    `identified`).
    split: train, validation or test where the source says so.
    images: where `source` is a folder of images, their names in it, sorted; empty for a video.
    """

    source: str
    category: str
    group: str
    number: int | None = None
    size: int = 0
    clip: str = ""
    split: str | None = None
    images: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Paths of its files inside the source: the video, or the images."""
        return [f"{self.source}/{image}" for image in self.images] if self.images else [self.source]


@dataclass(frozen=True)
class Found:
    """What a source offers.

    layout: how it was understood, one line. left_out: what is not taken. empty: classes with no video.
    splits: what gave the clips' splits (`the folders train and test`); empty where nothing does.
    notes: more lines for the user.
    """

    clips: list[Clip]
    layout: str = ""
    left_out: LeftOut = field(default_factory=LeftOut)
    empty: list[str] = field(default_factory=list)
    splits: str = ""
    notes: list[str] = field(default_factory=list)


def safe_parts(path: str, where: str) -> tuple[str, ...]:
    """The parts of a relative posix path; raises UserError where it is absolute, climbs, or holds what no file name should."""
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
    """Whether the suffix is a video's."""
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES


def is_image(path: str) -> bool:
    """Whether the suffix is a still image's."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def is_hidden(parts: Iterable[str]) -> bool:
    """True for what desktops and editors leave behind: `.DS_Store`, `__MACOSX/._a.avi`, `.ipynb_checkpoints/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def folded(name: str) -> str:
    """A name as file systems compare it that ignore case and Unicode normalisation: equal results would be one folder there."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def ucf_name(file: str) -> tuple[str, int] | None:
    """Class and group number of `v_<Class>_gNN_cNN.<suffix>`; None for another name."""
    match = _UCF_NAME.fullmatch(PurePosixPath(file).stem)
    return (match["category"], int(match["group"])) if match else None


def ucf_group(path: str) -> tuple[str, int | None]:
    """The group that a file's own name gives, and UCF-101's number of it; for another name the path itself, and None."""
    ucf = ucf_name(path)
    return (f"{ucf[0]}_g{ucf[1]:02d}", ucf[1]) if ucf else (path, None)


def _whole_path(source: str) -> str:
    """A path as one file name. Names have 255 bytes at most: of a longer one the folders are told by a hash."""
    name = "__".join(PurePosixPath(source).parts)
    if len(name.encode()) <= 240:  # leaves room for what is added to a file's name while it is written
        return name
    return f"{hashlib.sha256(source.encode()).hexdigest()[:16]}__{PurePosixPath(source).name}"


def identified(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with their names in data/clips, `<class>/<file>`, sorted by that name.

    Where two files of a class share a name (`train/jump/1.mp4`, `test/jump/1.mp4`), each takes its whole path, joined by `__`.
    Names are compared as `folded`, because some file systems do. Raises UserError where even whole paths collide.
    """
    clips = list(clips)
    short = [f"{clip.category}/{PurePosixPath(clip.source).name}" for clip in clips]
    taken = Counter(map(folded, short))
    named: dict[str, Clip] = {}
    for clip, name in zip(clips, short, strict=True):
        if taken[folded(name)] > 1:
            name = f"{clip.category}/{_whole_path(clip.source)}"
        other = named.setdefault(folded(name), replace(clip, clip=name))
        if other.source != clip.source:
            raise UserError(f"{other.source} and {clip.source} would both be the clip {name}", advice="rename one")
    return sorted(named.values(), key=lambda clip: clip.clip)
