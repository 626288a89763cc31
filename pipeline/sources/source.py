"""One interface for what `data` names: an archive, a folder, or a folder with listings. It lists clips and makes them files here.

`download` and the doctor open the same source, so that what one announces the other does.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pipeline.console import UserError
from pipeline.files import content_key, scratch, sha256
from pipeline.settings import Data, Speed
from pipeline.sources.archives import Archive, archive_clips
from pipeline.sources.folders import existing_folder, folder_clips, links_may_be_shared
from pipeline.sources.listed import listed_clips, listings_in
from pipeline.sources.naming import Clip, Found
from pipeline.sources.store import Stored, fetch_clips, in_threads

__all__ = ["Source", "clip_digest", "open_source"]


_END = 1 << 16


class Source(Protocol):
    """Where clips come from. name: what the user calls it. tries: how many requests had to be made again so far."""

    name: str
    tries: int

    def list_clips(self) -> Found:
        """What there is, without fetching it. Raises UserError where nothing can be made of it."""

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, object]:
        """By `Clip.source` what is equal for equal contents, without fetching any."""

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        """Makes the clips' files lie below `Stored.folder`."""

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        """Files of these clips to look into, some in `folder`; none where they would have to be fetched over the network."""


def clip_digest(clip: Clip, digest: Callable[[str], str]) -> str:
    """The SHA-256 of a clip, hexadecimal. digest: that of a file, by its path in the source.

    Of a folder of images it is that of the lines `<name>\\0<SHA-256>\\n` of its images, sorted by name.
    """
    if not clip.images:
        return digest(clip.source)
    lines = (f"{image}\0{digest(f'{clip.source}/{image}')}\n" for image in sorted(clip.images))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _ends(path: Path) -> str:
    """The SHA-256 of the first and the last 64 KiB of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(_END, path.stat().st_size - _END))
        digest.update(file.read())
    return digest.hexdigest()


class _FolderSource:
    def __init__(self, data: Data, workers: int):
        self.name = data.folder
        self._workers = workers
        self.tries = 0
        self._data = data
        self._hashes: dict[str, str] = {}
        self._root = existing_folder(data.folder)

    def list_clips(self) -> Found:
        listings = self._data.listing
        if isinstance(listings, str):
            listings = [listings]
        elif listings is None:
            listings = listings_in(self.name)
        return listed_clips(self.name, listings) if listings else folder_clips(self.name)

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, object]:
        """SHA-256, but only of clips whose ends are equal too: of videos that differ, a few kilobytes tell."""
        ends = in_threads(lambda clip: self._digest(clip, _ends), clips, self._workers)
        shared = Counter(ends.values())
        same = [clip for clip in clips if shared[ends[clip]] > 1]
        whole = in_threads(lambda clip: self._digest(clip, sha256), same, self._workers)
        self._hashes |= {clip.source: digest for clip, digest in whole.items()}
        return {clip.source: whole.get(clip, ends[clip]) for clip in clips}

    def _digest(self, clip: Clip, digest: Callable[[Path], str]) -> str:
        try:
            return clip_digest(clip, lambda path: digest(self._root / path))
        except OSError as error:
            message = f"data.folder = {self.name}: {clip.source}: {error.strerror}"
            raise UserError(message, advice="mend it, or take it out") from error

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        return Stored(self._root, links_may_be_shared(), dict(self._hashes))

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        return [self._root / clip.files[0] for clip in clips]


class _ArchiveSource:
    def __init__(self, archive: Archive, workers: int):
        self.name = archive.location
        self._workers = workers
        self._archive = archive

    @property
    def tries(self) -> int:
        return self._archive.tries

    def list_clips(self) -> Found:
        return archive_clips(self._archive)

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, object]:
        """Sizes and CRCs, as the index has them. By chance two of a thousand clips of equal size agree with probability 1e-4."""
        members = self._archive.members
        return {
            clip.source: tuple((file[len(clip.source) :], members[file].file_size, members[file].CRC) for file in clip.files)
            if clip.images
            else (members[clip.source].file_size, members[clip.source].CRC)
            for clip in clips
        }

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        return fetch_clips(self._archive, clips, scratch("clips", content_key(self.name)), self._workers)

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        if self._archive.remote:
            return []
        paths = [folder / f"{number}{Path(clip.files[0]).suffix}" for number, clip in enumerate(clips)]
        for clip, path in zip(clips, paths, strict=True):
            self._archive.copy(clip.files[0], path, lambda count: None)
        return paths


@contextmanager
def open_source(data: Data, speed: Speed) -> Iterator[Source]:
    """The source that `data` names. Raises UserError where it cannot be opened."""
    if data.archive is None:
        yield _FolderSource(data, speed.download_connections)
    else:
        with Archive(data.archive, speed.download_retries, speed.download_timeout) as archive:
            yield _ArchiveSource(archive, speed.download_connections)
