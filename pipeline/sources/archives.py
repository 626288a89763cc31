"""Zip archives, local or read by HTTP range requests, whose members several threads copy at once.

Invariants: the index is read once and shared, so a few small members cost little more than their own bytes. A member's size and
CRC are checked while it is written to a temporary name next to its final one, so a file with its final name is whole. Transient
failures (a cut connection, a stall, a busy server, corrupted bytes) are retried for that member alone; others raise UserError.
"""

import contextlib
import functools
import hashlib
import io
import lzma
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
from pipeline.sources.failures import RangeError, describe, is_final, lacks_suffix_ranges
from pipeline.sources.paths import missing_advice

__all__ = ["Archive", "StoppedError"]

CHUNK = 1 << 18  # bytes
TAIL = 4096  # bytes of the first request: enough for the end record, which locates the index, without a long comment
FIRST_WAIT = 0.5  # seconds before the second try; doubled for each further one, with up to a second of jitter
LONGEST_WAIT = 30.0

_INDEX_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, RemoteZipError, zipfile.BadZipFile, EOFError)
_MEMBER_ERRORS = (*_INDEX_ERRORS, zlib.error, lzma.LZMAError, OSError, NotImplementedError)


class StoppedError(Exception):
    """This copy was cancelled, because another thread failed or the user interrupted."""


class _IndexOnce(RemoteFetcher):
    """Caches what was read of the index: every RemoteZip of the same archive makes the same reads."""

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
                raise EOFError(f"received {len(content)} of {len(buffer)} bytes")
            self._memory[data_range] = (offset, content)
        offset, content = self._memory[data_range]
        return PartialBuffer(io.BytesIO(content), offset, len(content), stream=False)

    def _request_range(self, data_range, stream):
        try:
            return super().fetch(data_range, stream)
        except RemoteIOError as error:
            raise RangeError(error.__context__ or error) from error


class Archive:
    """An open archive. Safe to use from several threads: each has its own connection.

    Attributes:
      location: an http or https URL, or a path. remote: whether it is a URL.
      members: its entries by name.
      retries: number of requests that were repeated so far.
    """

    def __init__(self, location: str, max_retries: int, timeout: float):
        """Reads the index; raises UserError if that fails.

        max_retries: further tries of a member. timeout: seconds without a byte before a try fails.
        """
        self.location = location
        self.remote = location.lower().startswith(("http://", "https://"))
        if not self.remote and "://" in location:
            message = f"data.archive = {location!r}: only http and https URLs and local paths are supported"
            raise UserError(message, advice="fetch the archive by other means and give its path")
        self.timeout = timeout
        self.retries = 0
        self._max_retries = max_retries if self.remote else 0
        self._suffix_ranges = True
        self._memory: dict[tuple, tuple[int, bytes]] = {}
        self._local = threading.local()
        self._handles: list[contextlib.ExitStack] = []
        self._stop = threading.Event()
        self.members = {info.filename: info for info in self._index()}

    def stop(self) -> None:
        """Makes running copies raise StoppedError at their next chunk."""
        self._stop.set()

    def close(self) -> None:
        """Closes the connections of all threads, none of which may be copying."""
        while self._handles:
            self._handles.pop().close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def copy(self, name: str, target: Path, advance: Callable[[int], None]) -> str:
        """Copies the member `name` to `target`, whole or not at all, and returns its SHA-256, hexadecimal.

        advance: receives the number of bytes as they arrive, and a negative number when a failed try's bytes are discarded.
        Raises UserError naming the member if every try failed or none can succeed; StoppedError after `stop`.
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
            kept = "run again to resume, what was fetched is kept" if self.remote else ""
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
                    raise EOFError(f"received {size} of {info.file_size} bytes")
        except BaseException:
            # The connection is in the middle of the member, so the next try cannot use it.
            self._drop()
            advance(-size)
            raise
        return digest.hexdigest()

    def _retrying(self) -> tenacity.Retrying:
        def count(state: tenacity.RetryCallState) -> None:
            self.retries += 1

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._max_retries + 1) | tenacity.stop_when_event_set(self._stop),
            wait=tenacity.wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT, jitter=min(1.0, FIRST_WAIT)),
            sleep=tenacity.sleep_using_event(self._stop),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _MEMBER_ERRORS) and not is_final(error)),
            before_sleep=count,
            reraise=True,
        )

    def _open(self) -> zipfile.ZipFile:
        """The calling thread's handle: a RemoteZip, whose reads are requests, must not be shared between threads."""
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
        """Closes the calling thread's connection; the next use opens another."""
        handle = self._local.__dict__.pop("handle", None)
        self._local.__dict__.pop("zip", None)
        if handle is not None:
            self._handles.remove(handle)
            handle.close()

    def _index(self) -> list[zipfile.ZipInfo]:
        def report(state: tenacity.RetryCallState) -> None:
            self._memory.clear()
            self.retries += 1
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
            # zipfile raises these for an index of random bytes.
            message = f"{self.location}: its index is damaged ({error})"
            raise UserError(message, advice="fetch or make the archive again") from error

    def _any_range(self) -> list[zipfile.ZipInfo]:
        """Reads the index by requesting the last bytes, or, if the server does not support that, after requesting the size."""
        try:
            return self._open().infolist()
        except _INDEX_ERRORS as error:
            if not self.remote or not self._suffix_ranges or not lacks_suffix_ranges(error):
                raise
            first = error
        self._suffix_ranges = False
        self._memory.clear()
        try:
            return self._open().infolist()
        except _INDEX_ERRORS:
            self._suffix_ranges = True
        raise first
