"""Files of a source that are not used, counted by reason and summarised in one line."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

__all__ = ["LeftOut", "Reason", "few"]


class Reason(NamedTuple):
    """A reason why files are not used, worded for one file and for several. by_suffix: list suffixes instead of names."""

    one: str
    many: str
    by_suffix: bool = False


NOT_VIDEO = Reason("file that is not a video", "files that are not videos", by_suffix=True)
NOT_WHAT_IT_SAYS = Reason("file with a video's suffix and other content", "files with a video's suffix and other content")
EMPTY = Reason("empty file", "empty files")
HIDDEN = Reason("hidden file", "hidden files")
BROKEN_LINK = Reason("broken link", "broken links")
UNREADABLE = Reason("file or folder that cannot be read", "files or folders that cannot be read")
SEEN_FOLDER = Reason("link to a folder that is already read", "links to folders that are already read")
OUTSIDE = Reason("video outside the class folders", "videos outside the class folders")
IMAGE = Reason("image that is not a frame of a clip", "images that are not frames of a clip", by_suffix=True)
FRAMES = Reason("folder of images next to videos", "folders of images next to videos")
NO_VIDEOS = Reason("folder without videos", "folders without videos")
GONE = Reason("listed video that is absent", "listed videos that are absent")


def few(names: Iterable[str], most: int = 3) -> str:
    """The names; of many, the first few: `a, b, c, ...`."""
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


class LeftOut:
    """Collects the names of files that are not used, by reason."""

    def __init__(self) -> None:
        self.names: dict[Reason, list[str]] = {}

    def add(self, reason: Reason, name: str) -> None:
        """name: as on disk; unprintable characters, such as line ends or bytes that are not UTF-8, become `?`."""
        shown = name if name.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in name)
        self.names.setdefault(reason, []).append(shown)

    @property
    def count(self) -> int:
        return sum(map(len, self.names.values()))

    def line(self) -> str:
        """`left out: 1 broken link (walk/broken.mp4); 3 files that are not videos (.txt 2, .db 1)`; empty if no file is."""
        return f"left out: {'; '.join(sorted(_phrase(*item) for item in self.names.items()))}" if self.names else ""


def _phrase(reason: Reason, names: list[str]) -> str:
    if len(names) == 1:
        return f"1 {reason.one} ({names[0]})"
    if not reason.by_suffix:
        return f"{len(names)} {reason.many} ({few(sorted(names))})"
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    order = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    return f"{len(names)} {reason.many} ({few((f'{suffix} {count}' for suffix, count in order), 6)})"
