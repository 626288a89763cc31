"""Downloads a file whole or not at all: retried while what fails can pass, resumed where it stopped, checked when it is there."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from filelock import FileLock

from pipeline.console import UserError, progress, say
from pipeline.files import sha256, write_json, write_text

TIMEOUT = 30  # seconds without a byte
WAITS = (1.0, 2.0, 4.0)  # seconds before each further try
_CHUNK = 1 << 16
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # statuses that another try may find gone


class _TransientError(Exception):
    """What another try may not meet; the message says what it was."""


@dataclass(frozen=True)
class Expected:
    """Bytes and hexadecimal SHA-256 of a file that is known."""

    size: int
    sha256: str


def shown(url: str) -> str:
    """`url` as it may be printed: without user, password and query, which may hold a signature."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _validator(response: requests.Response) -> str | None:
    """What tells whether a file is still the same, for `If-Range`: a strong ETag, else a date; None without either."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _total(response: requests.Response, first: int) -> int | None:
    """The size of the whole file, where the server states it; `first` is the offset of the response's first byte."""
    length = response.headers.get("Content-Length", "")
    return first + int(length) if length.isdigit() else None


def _stated_md5(response: requests.Response) -> str | None:
    """The MD5 that Google Cloud Storage states of a whole object, base64."""
    match = re.search(r"(?:^|,)\s*md5=([^,\s]+)", response.headers.get("x-goog-hash", ""))
    return match[1] if match else None


def _try(url: str, target: Path, part: Path, known: Path, check: Callable[[Path, requests.Response], None]) -> None:
    """One request, which continues `part` where the server has the same file still; raises _TransientError or UserError."""
    validator = json.loads(known.read_text())["validator"] if known.exists() else None
    there = part.stat().st_size if part.exists() and validator else 0
    headers = {"Accept-Encoding": "identity"}  # a body that is decompressed on the way has other offsets
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == 416 and content_range == f"bytes */{there}":  # all of it is there
                return check(part, response)
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise _TransientError("the server has another file now")
            if response.status_code not in (200, 206):
                message = f"the server answers {response.status_code} {response.reason}"
                if response.status_code in _TRANSIENT:
                    raise _TransientError(message)
                raise UserError(f"{shown(url)}: {message}")
            first = there if response.status_code == 206 else 0
            if first and not content_range.startswith(f"bytes {first}-"):
                part.unlink()
                raise _TransientError(f"asked for bytes from {first}, the server sent {content_range or 'others'}")
            total = _total(response, first)
            with part.open("ab" if first else "wb") as file:
                # Only now that what was there is gone: it belongs to the validator before.
                write_json(known, {"url": shown(url), "validator": _validator(response)})
                bar = progress(total=total, initial=first, describe=f"fetching {target.name}", unit="B", unit_scale=True)
                with bar:
                    for chunk in response.iter_content(_CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
            if total is not None and part.stat().st_size != total:
                raise _TransientError(f"it ended after {part.stat().st_size} of {total} bytes")
            return check(part, response)
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # no URL that could ever be fetched
            raise UserError(f"{shown(url)}: not a usable URL ({error})") from error
        raise _TransientError(f"cannot be fetched ({type(error).__name__})") from error


def _check(part: Path, response: requests.Response, expected: Expected | None) -> None:
    """Holds what arrived to what is known of it; removes it where it is something else."""
    stated = _stated_md5(response)
    with part.open("rb") as file:
        md5 = base64.b64encode(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()).decode()
    if stated is not None and stated != md5:
        part.unlink()
        raise _TransientError("what arrived does not match the MD5 that the server states")
    if expected is not None and (part.stat().st_size, sha256(part)) != (expected.size, expected.sha256):
        found = f"{part.stat().st_size:,} bytes with SHA-256 {sha256(part)[:16]}..."
        part.unlink()
        raise UserError(
            f"{shown(response.url)}: what arrived is not the published file: {found}, "
            f"not {expected.size:,} bytes with {expected.sha256[:16]}..."
        )


def download(url: str, target: Path, expected: Expected | None = None) -> None:
    """Fetches `url` to `target`, and its SHA-256 to `<target>.sha256`.

    What has arrived when it fails is kept next to `target`: the next try, or the next run, asks for the rest, if the server still
    has the same file (by ETag or date).

    Raises:
      UserError: the server refuses, none of the tries succeeded, or what arrived is not what is `expected`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, known = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists():  # another process was faster
            return
        for wait in (*WAITS, None):
            try:
                _try(url, target, part, known, lambda part, response: _check(part, response, expected))
                break
            except _TransientError as error:
                if wait is None:
                    kept = part.stat().st_size if part.exists() else 0
                    advice = f"run again, which fetches the rest ({kept:,} bytes are kept)" if kept else "is there a network?"
                    raise UserError(f"{shown(url)}: {error}", advice=advice) from error
                say(f"{shown(url)}: {error}; trying again in {wait:g} s")
                time.sleep(wait)
            except OSError as error:
                raise UserError(
                    f"{part}: cannot be written ({error.strerror or error})", advice="free some space and run again"
                ) from error
        write_text(target.with_name(f"{target.name}.sha256"), sha256(part) + "\n")
        part.replace(target)
        known.unlink()
