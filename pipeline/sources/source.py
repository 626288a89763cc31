"""The interface of a source of clips, and what passes through it.

A new kind of source is a subclass of `Source` in a file of its own and a line in `kinds.open_source`. The download stage and the
doctor use a source through this interface alone, so that both find the same clips.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.check_results import CheckResult
from pipeline.sources.left_out import LeftOut
from pipeline.video.segment import Segment

__all__ = ["RECORDINGS", "Clip", "Found", "Source", "Stored", "clip_digest", "distinct_files"]

RECORDINGS = ".recordings"  # folder of data/clips for files of which clips are segments; no class can have this name


@dataclass(frozen=True)
class Clip:
    """A clip of a source: a video, or a folder of images.

    Attributes:
      source: posix path inside the source; unique there, but for segments.
      category: its class.
      group: clips of one group stay on one side of a split.
      number: UCF-101's group number; None for other names.
      size: bytes of `source`.
      clip: `<class>/<file>`, its name, unique (see `naming.identified`).
      split: train, validation or test if the source states it.
      images: names of the images if `source` is a folder of images, sorted; empty for a video.
      segment: the part of `source` that is the clip; None: all of it. Several clips may be segments of one source.
    """

    source: str
    category: str
    group: str
    number: int | None = None
    size: int = 0
    clip: str = ""
    split: str | None = None
    images: tuple[str, ...] = ()
    segment: Segment | None = None

    @property
    def file(self) -> str:
        """Path of its video below data/clips: its own name, or for a segment that of the recording, which others share."""
        return self.clip if self.segment is None else f"{RECORDINGS}/{self.source}"

    @property
    def files(self) -> list[str]:
        """Paths of its files inside the source: the video, or the images."""
        return [f"{self.source}/{image}" for image in self.images] if self.images else [self.source]


@dataclass(frozen=True)
class Found:
    """The clips of a source.

    Attributes:
      layout: how the source was understood, one line.
      left_out: files that are not used.
      empty: classes without a video.
      splits: what states the clips' splits (`the folders train and test`); empty if nothing does.
      notes: further lines for the user. warnings: what looks wrong in the source.
    """

    clips: list[Clip]
    layout: str = ""
    left_out: LeftOut = field(default_factory=LeftOut)
    empty: list[str] = field(default_factory=list)
    splits: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[CheckResult] = field(default_factory=list)


@dataclass(frozen=True)
class Stored:
    """Where the clips' files are after `fetch`.

    Attributes:
      folder: a file lies at `folder / path in the source`.
      link: whether hard links to the files may be made.
      sha256: of files, by path in the source, as far as known.
      fetched: files that were transferred by this fetch.
    """

    folder: Path
    link: bool
    sha256: dict[str, str] = field(default_factory=dict)
    fetched: frozenset[str] = frozenset()


class Source(ABC):
    """Where clips come from. A context manager: leaving it closes what the source holds open.

    Attributes:
      name: what messages call it.
      retries: number of requests that were repeated so far.
      watch: the local file or folder whose change must run download again; None if the source is not local.
    """

    name: str
    retries: int = 0
    watch: Path | None = None

    @abstractmethod
    def list_clips(self) -> Found:
        """Lists the clips without fetching them. Raises UserError if there is no reading of the source."""

    @abstractmethod
    def fetch(self, clips: Sequence[Clip]) -> Stored:
        """Makes the clips' files available below `Stored.folder`."""

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, Hashable]:
        """By `Clip.source`, a value that is equal for files of equal contents, computed without fetching. By default none are."""
        return {clip.source: clip.source for clip in clips}

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        """Files of these clips to examine before a download, some of them in `folder`; empty if they would have to be fetched."""
        return []

    def close(self) -> None:  # noqa: B027  # most sources hold nothing open
        """Closes what the source holds open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def distinct_files(clips: Iterable[Clip]) -> list[Clip]:
    """The first clip of each file: several may be segments of one recording."""
    first: dict[str, Clip] = {}
    for clip in clips:
        first.setdefault(clip.file, clip)
    return list(first.values())


def clip_digest(clip: Clip, digest: Callable[[str], str]) -> str:
    """The SHA-256 of a clip, hexadecimal. digest: that of a file, by its path in the source.

    For a folder of images it is the SHA-256 of the lines `<name>\\0<SHA-256>\\n` of its images, sorted by name.
    """
    if not clip.images:
        return digest(clip.source)
    lines = (f"{image}\0{digest(f'{clip.source}/{image}')}\n" for image in sorted(clip.images))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
