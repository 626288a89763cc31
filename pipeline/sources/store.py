"""The clips fetched so far: a folder that outlives a killed run, a failed one, and DVC, which deletes outputs before it runs a
stage.

One file a member, under its path in the archive. A file is used again only if its size and CRC are those in the archive's index;
all of it is read for that each time, because the SHA-256 is needed anyway, and a record of earlier checks could outlive what it
vouches for.
"""

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from zipfile import ZipInfo

import filelock

from pipeline.console import progress, say
from pipeline.sources.archives import Archive
from pipeline.sources.naming import Clip

__all__ = ["Stored", "fetch_clips", "in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_READ = 1 << 20


@dataclass(frozen=True)
class Stored:
    """Where clips' files are after a fetch. folder: they lie at `folder / path in the source`. link: whether hard
    links to them may be made. sha256: of files, by path in the source, as far as it is known. fetched: the files that came now.
    """

    folder: Path
    link: bool
    sha256: dict[str, str]
    fetched: frozenset[str] = frozenset()


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, on_failure: Callable[[], None] = lambda: None
) -> dict[Item, Result]:
    """The results of `work` by item. After the first failure nothing new starts, `on_failure` is called, and the failure is
    raised.
    """
    results = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
        except BaseException:
            on_failure()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder for this process: two runs at once would fetch the same members twice."""
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


def _checked(path: Path, crc: int, advance: Callable[[int], None]) -> str | None:
    """The SHA-256 of a file if its CRC is `crc`, else None."""
    digest, found = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            digest.update(chunk)
            found = zlib.crc32(chunk, found)
            advance(len(chunk))
    return digest.hexdigest() if found == crc else None


def fetch_clips(archive: Archive, clips: Sequence[Clip], folder: Path, workers: int) -> Stored:
    """Brings the clips' members into `folder`, at `folder / path in the archive`, fetching only what is not there whole.

    workers: threads, each with its own connection. Raises UserError for the first member that cannot be had; the others stay.
    """
    files = [archive.members[file] for clip in clips for file in clip.files]
    with _alone(folder):
        # Parts are named `.<file>.<process>.part` (see pipeline.files); nobody else is at work here, so they are a killed run's.
        for part in sorted(folder.rglob(".*.part")):
            part.unlink()
        there = [info for info in files if _size(folder / info.filename) == info.file_size]
        hashes = {}
        if there:
            with _bytes_bar("checking", there) as advance:

                def check(info: ZipInfo) -> str | None:
                    return _checked(folder / info.filename, info.CRC, advance)

                hashes = {info.filename: digest for info, digest in in_threads(check, there, workers).items() if digest}
        missing = [info for info in files if info.filename not in hashes]
        if missing:
            with _bytes_bar("fetching", missing) as advance:

                def fetch(info: ZipInfo) -> str:
                    return archive.copy(info.filename, folder / info.filename, advance)

                hashes |= {info.filename: digest for info, digest in in_threads(fetch, missing, workers, archive.stop).items()}
        return Stored(folder, True, hashes, frozenset(info.filename for info in missing))


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


@contextmanager
def _bytes_bar(describe: str, files: Sequence[ZipInfo]) -> Iterator[Callable[[int], None]]:
    """A bar of bytes with their rate, to be advanced from any thread."""
    lock = threading.Lock()
    total = sum(info.file_size for info in files)
    with progress(total=total, describe=describe, unit="B", unit_scale=True, unit_divisor=1000) as bar:

        def advance(count: int) -> None:
            with lock:
                bar.update(count)

        yield advance
