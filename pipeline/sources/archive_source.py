"""A zip archive as a source: its clips, and the folder of members fetched so far.

The folder (`.cache/clips`) outlives killed and failed runs, and DVC, which deletes outputs before it runs a stage. It holds one
file per member, at the member's path. A file is used again only if its size and CRC equal those in the archive's index. The whole
file is read for this each time: its SHA-256 is needed anyway, and a record of earlier checks could be out of date.
"""

import hashlib
import stat
import threading
import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipInfo

import filelock

from pipeline.console import UserError, progress, say
from pipeline.files import content_key, scratch
from pipeline.settings import Data, Speed
from pipeline.sources.archives import Archive
from pipeline.sources.layouts import File, image_folders, recognise, visible
from pipeline.sources.left_out import NOT_VIDEO, LeftOut
from pipeline.sources.naming import is_image, is_video, safe_parts
from pipeline.sources.source import Clip, Found, Source, Stored
from pipeline.sources.threads import in_threads

__all__ = ["ArchiveSource", "archive_clips", "fetch_clips"]

_READ = 1 << 20  # bytes


class ArchiveSource(Source):
    """`data.archive`: a local zip, or one at an http(s) URL, of which only the members needed are fetched."""

    def __init__(self, data: Data, speed: Speed):
        self.name = data.archive
        self._archive = Archive(data.archive, speed.download_retries, speed.download_timeout)
        self._threads = speed.download_connections
        self.watch = None if self._archive.remote else Path(data.archive).expanduser()

    @property
    def retries(self) -> int:
        return self._archive.retries

    def list_clips(self) -> Found:
        return archive_clips(self._archive)

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, Hashable]:
        """Names, sizes and CRCs in the index. Two of a thousand clips of equal size agree by chance with probability 1e-4."""
        members = self._archive.members

        def fingerprint(clip: Clip) -> Hashable:
            infos = [(file[len(clip.source) :], members[file]) for file in clip.files]
            return tuple((name, info.file_size, info.CRC) for name, info in infos)

        return {clip.source: fingerprint(clip) for clip in clips}

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        return fetch_clips(self._archive, clips, scratch("clips", content_key(self.name)), self._threads)

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        if self._archive.remote:
            return []
        paths = [folder / f"{number}{Path(clip.files[0]).suffix}" for number, clip in enumerate(clips)]
        for clip, path in zip(clips, paths, strict=True):
            self._archive.copy(clip.files[0], path, lambda count: None)
        return paths

    def close(self) -> None:
        self._archive.close()


def archive_clips(archive: Archive) -> Found:
    """The videos, or folders of images, in an archive, with class, group and split as `layouts.recognise` reads their paths.

    Suffixes decide what is a video, because the content would have to be fetched. Raises UserError for an entry whose path leads
    out of the archive, or that is a link.
    """
    left_out = LeftOut()
    files = []
    for name, info in archive.members.items():
        safe_parts(name, archive.location)
        if stat.S_ISLNK(info.external_attr >> 16):
            message = f"{archive.location}: {name} is a symbolic link, which is refused"
            raise UserError(message, advice="give an archive of plain files")
        if not info.is_dir():
            files.append(File(name, info.file_size))
    files = visible(files, left_out)
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if is_image(file.path)]
    for file in files:
        if not is_video(file.path) and not is_image(file.path):
            left_out.add(NOT_VIDEO, file.path)
    return recognise(videos + image_folders(videos, images, left_out), left_out, archive.location)


def fetch_clips(archive: Archive, clips: Sequence[Clip], folder: Path, threads: int) -> Stored:
    """Brings the clips' members into `folder`, fetching only those that are not there whole.

    threads: each has its own connection. Raises UserError for the first member that cannot be fetched; the others stay.
    """
    files = [archive.members[file] for clip in clips for file in clip.files]
    with _locked(folder):
        # Partial files are named `.<file>.<process>.part` (see pipeline.files). The folder is locked, so they are a killed run's.
        for part in sorted(folder.rglob(".*.part")):
            part.unlink()
        hashes: dict[str, str] = {}
        there = [info for info in files if _size(folder / info.filename) == info.file_size]
        if there:
            with _bytes_bar("checking", there) as advance:
                checked = in_threads(lambda info: _checked(folder / info.filename, info.CRC, advance), there, threads)
                hashes = {info.filename: digest for info, digest in checked.items() if digest}
        missing = [info for info in files if info.filename not in hashes]
        if missing:
            with _bytes_bar("fetching", missing) as advance:

                def fetch(info: ZipInfo) -> str:
                    return archive.copy(info.filename, folder / info.filename, advance)

                hashes |= {info.filename: digest for info, digest in in_threads(fetch, missing, threads, archive.stop).items()}
        return Stored(folder, True, hashes, frozenset(info.filename for info in missing))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder for this process: two runs at once would fetch the same members twice."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"another run is fetching into {folder}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _checked(path: Path, crc: int, advance: Callable[[int], None]) -> str | None:
    """The SHA-256 of a file if its CRC is `crc`, else None."""
    digest, found = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            digest.update(chunk)
            found = zlib.crc32(chunk, found)
            advance(len(chunk))
    return digest.hexdigest() if found == crc else None


@contextmanager
def _bytes_bar(describe: str, files: Sequence[ZipInfo]) -> Iterator[Callable[[int], None]]:
    """A progress bar of bytes; yields the function that advances it, from any thread."""
    lock = threading.Lock()
    total = sum(info.file_size for info in files)
    with progress(total=total, describe=describe, unit="B", unit_scale=True, unit_divisor=1000) as bar:

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance
