"""Zip archives, local or behind HTTP range requests, whose members several threads copy out at once.

The index is read once and shared, so a few small members cost little more than their own bytes. A member is checked (size, CRC)
while it is written beside its final name: what has a final name is whole. What may pass (a cut connection, a stall, a busy
server, bytes changed on the way) is tried again for that member alone; what cannot is one clear line.
"""

import contextlib
import functools
import hashlib
import io
import lzma
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import requests
import tenacity
import urllib3
from remotezip import OutOfBound, PartialBuffer, RemoteFetcher, RemoteIOError, RemoteZip, RemoteZipError

from pipeline.console import UserError, say
from pipeline.files import atomic_file
from pipeline.sources.failures import RangeError, describe, is_final
from pipeline.sources.folders import missing_advice
from pipeline.sources.layouts import File, image_folders, recognise, visible
from pipeline.sources.left_out import NOT_VIDEO, LeftOut
from pipeline.sources.naming import Found, is_image, is_video, safe_parts

__all__ = ["Archive", "StoppedError", "archive_clips"]

CHUNK = 1 << 18
# What the first request asks for. It holds the end record of any archive without a long comment; the index itself is then asked
# for exactly.
TAIL = 4096
# Seconds before the second try; doubled for each further one, with up to a second of jitter, at most LONGEST_WAIT.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0

_INDEX_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, RemoteZipError, zipfile.BadZipFile, EOFError)
_MEMBER_ERRORS = (*_INDEX_ERRORS, zlib.error, lzma.LZMAError, OSError, NotImplementedError)


class StoppedError(Exception):
    """Another thread failed or the user interrupted: this copy was given up on purpose."""


class _IndexOnce(RemoteFetcher):
    """Keeps what was read of the index. Every RemoteZip on the same archive makes the same reads, and gets them from memory."""

    def __init__(self, *arguments, memory: dict[tuple, tuple[int, bytes]], **options):
        super().__init__(*arguments, **options)
        self._memory = memory

    def fetch(self, data_range, stream=False):
        if stream:
            return self._request_range(data_range, stream=True)
        if data_range not in self._memory:
            buffer = self._request_range(data_range, stream=False)
            offset = buffer.tell()
            content = buffer.read()
            if len(content) != len(buffer):
                raise EOFError(f"{len(content)} bytes came of {len(buffer)}")
            self._memory[data_range] = (offset, content)
        offset, content = self._memory[data_range]
        return PartialBuffer(io.BytesIO(content), offset, len(content), stream=False)

    def _request_range(self, data_range, stream):
        try:
            return super().fetch(data_range, stream)
        except RemoteIOError as error:
            raise RangeError(error.__context__ or error) from error


class Archive:
    """An open archive. members: its entries by name. tries: how many had to be made again so far.

    location: an http or https URL, or a path. retries: further tries of a member. timeout: seconds without a byte before a try
    fails. Safe to use from several threads: each has its own connection. Raises UserError where the archive cannot be read.
    """

    def __init__(self, location: str, retries: int, timeout: float):
        self.location = location
        self.remote = location.lower().startswith(("http://", "https://"))
        if not self.remote and "://" in location:
            message = f"data.archive = {location!r}: only http and https URLs and local paths are supported"
            raise UserError(message, advice="fetch the archive by other means and give its path")
        self.timeout = timeout
        self.tries = 0
        self._retries = retries if self.remote else 0
        self._suffix_ranges = True
        self._memory: dict[tuple, tuple[int, bytes]] = {}
        self._local = threading.local()
        self._handles: list[contextlib.ExitStack] = []
        self._stop = threading.Event()
        self.members = {info.filename: info for info in self._index()}

    def stop(self) -> None:
        """Makes copies under way end at their next chunk, with `StoppedError`."""
        self._stop.set()

    def close(self) -> None:
        """Closes the connections of all threads, which must be done with theirs."""
        while self._handles:
            self._handles.pop().close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def copy(self, name: str, target: Path, advance: Callable[[int], None]) -> str:
        """Copies the member `name` to `target`, whole or not at all, and returns its SHA-256, hexadecimal.

        advance: told the bytes as they come, and a negative number where a try's bytes were for nothing.
        Raises UserError naming the member when no try succeeded or none can; StoppedError after `stop`.
        """
        info = self.members[name]
        if info.flag_bits & 0x1:
            raise UserError(f"{self.location}: {name} is encrypted", advice="give an archive without a password")
        try:
            return self._retrying()(self._copy_once, info, target, advance)
        except _MEMBER_ERRORS as error:
            if self._stop.is_set():
                raise StoppedError from error
            problem = describe(error, self.timeout)
            kept = "what was fetched is kept: run again to resume" if self.remote else ""
            advice = "; ".join(filter(None, (problem.advice, kept)))
            raise UserError(f"{self.location}: {name}: {problem.what}", advice=advice) from error

    def _copy_once(self, info: zipfile.ZipInfo, target: Path, advance: Callable[[int], None]) -> str:
        digest, size = hashlib.sha256(), 0
        try:
            with atomic_file(target) as part, self._open().open(info) as member, part.open("wb") as file:
                while chunk := member.read(CHUNK):
                    if self._stop.is_set():
                        raise StoppedError
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    advance(len(chunk))
                if size != info.file_size:
                    raise EOFError(f"{size} bytes came of {info.file_size}")
        except BaseException:
            # The connection is somewhere inside the member: of no use to the next try.
            self._drop()
            advance(-size)
            raise
        return digest.hexdigest()

    def _retrying(self) -> tenacity.Retrying:
        def count(state: tenacity.RetryCallState) -> None:
            self.tries += 1

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._retries + 1) | tenacity.stop_when_event_set(self._stop),
            wait=tenacity.wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT, jitter=min(1.0, FIRST_WAIT)),
            sleep=tenacity.sleep_using_event(self._stop),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _MEMBER_ERRORS) and not is_final(error)),
            before_sleep=count,
            reraise=True,
        )

    def _open(self) -> zipfile.ZipFile:
        """The calling thread's handle: zip files are not to be shared between threads where a read is a request."""
        if not hasattr(self._local, "zip"):
            with contextlib.ExitStack() as handle:
                if self.remote:
                    opened = RemoteZip(
                        self.location,
                        initial_buffer_size=TAIL,
                        session=handle.enter_context(requests.Session()),
                        fetcher=functools.partial(_IndexOnce, memory=self._memory),
                        support_suffix_range=self._suffix_ranges,
                        timeout=self.timeout,
                        headers={"Accept-Encoding": "identity"},
                    )
                else:
                    opened = zipfile.ZipFile(Path(self.location).expanduser())
                handle.enter_context(opened)
                self._local.zip, self._local.handle = opened, handle.pop_all()
                self._handles.append(self._local.handle)
        return self._local.zip

    def _drop(self) -> None:
        """Closes the calling thread's connection; the next use makes another."""
        handle = self._local.__dict__.pop("handle", None)
        self._local.__dict__.pop("zip", None)
        if handle is not None:
            self._handles.remove(handle)
            handle.close()

    def _index(self) -> list[zipfile.ZipInfo]:
        def report(state: tenacity.RetryCallState) -> None:
            self._memory.clear()
            self.tries += 1
            seconds = state.next_action.sleep
            say(f"{self.location}: {describe(state.outcome.exception(), self.timeout).what}; trying again in {seconds:.0f} s")

        def final(error: BaseException) -> bool:
            return is_final(error) or isinstance(error, zipfile.BadZipFile | OutOfBound)

        retrying = self._retrying().copy(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _INDEX_ERRORS) and not final(error)),
            before_sleep=report,
        )
        try:
            return retrying(self._any_range)
        except FileNotFoundError as error:
            advice = missing_advice(Path(self.location).expanduser(), "give the path of a zip file or an http(s) URL")
            raise UserError(f"data.archive = {self.location}: not found", advice=advice) from error
        except IsADirectoryError as error:
            raise UserError(f"data.archive = {self.location}: is a directory", advice="give it as data.folder instead") from error
        except (*_INDEX_ERRORS, OSError, NotImplementedError) as error:
            problem = describe(error, self.timeout, index=True)
            raise UserError(f"{self.location}: {problem.what}", advice=problem.advice) from error
        except (ValueError, struct.error) as error:
            # What zipfile raises on an index of random bytes.
            raise UserError(
                f"{self.location}: its index is damaged ({error})", advice="fetch or make the archive again"
            ) from error

    def _any_range(self) -> list[zipfile.ZipInfo]:
        """The index, by a request for the last bytes; by asking for the size first where the server needs that."""
        try:
            return self._open().infolist()
        except _INDEX_ERRORS as error:
            if not self.remote or not self._suffix_ranges or not is_final(error, suffix_range=True):
                raise
            first = error
        self._suffix_ranges = False
        self._memory.clear()
        try:
            return self._open().infolist()
        except _INDEX_ERRORS:
            self._suffix_ranges = True
        raise first


def archive_clips(archive: Archive) -> Found:
    """The videos, or folders of images, in an archive, as `layouts.recognise` understands their paths. Suffixes decide what is a
    video, since the content would have to be fetched.

    Raises UserError for an entry that leads elsewhere, or is a link.
    """
    left_out = LeftOut()
    files = []
    for name, info in archive.members.items():
        safe_parts(name, archive.location)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(
                f"{archive.location}: {name} is a symbolic link, which is refused", advice="give an archive of plain files"
            )
        if not info.is_dir():
            files.append(File(name, info.file_size))
    files = visible(files, left_out)
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if is_image(file.path)]
    for file in files:
        if not is_video(file.path) and not is_image(file.path):
            left_out.add(NOT_VIDEO, file.path)
    return recognise(videos + image_folders(videos, images, left_out), left_out, archive.location)
