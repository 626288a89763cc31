"""Downloads files atomically: retries transient errors, resumes interrupted downloads, and verifies the result."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock

from pipeline.console import UserError, progress, say, without_credentials
from pipeline.files import sha256, write_json, write_text

TIMEOUT = 30  # seconds without data
WAITS = (1.0, 2.0, 4.0)  # seconds before each retry
_CHUNK = 1 << 16  # bytes
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes


class _TransientError(Exception):
    """An error that may not occur again on a retry."""


@dataclass(frozen=True)
class Expected:
    """Size in bytes and hexadecimal SHA-256 of a published file."""

    size: int
    sha256: str


def _validator(response: requests.Response) -> str | None:
    """The validator for `If-Range`: a strong ETag, else the date of the last modification; None without either."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _total(response: requests.Response, first: int) -> int | None:
    """The size of the whole file; None if the server does not state it. first: offset of the response's first byte."""
    length = response.headers.get("Content-Length", "")
    return first + int(length) if length.isdigit() else None


def _stated_md5(response: requests.Response) -> str | None:
    """The MD5 of the whole file in base64, if the server states it in Google Cloud Storage's header."""
    match = re.search(r"(?:^|,)\s*md5=([^,\s]+)", response.headers.get("x-goog-hash", ""))
    return match[1] if match else None


def _request(url: str, target: Path, part: Path, record: Path, check: Callable[[Path, requests.Response], None]) -> None:
    """Sends one request, which resumes the download in `part` if the server still has the same file.

    Args:
      record: file with the validator of `part`.
      check: verifies the complete `part`.

    Raises:
      _TransientError, UserError: the request fails, with or without a chance for a retry.
    """
    validator = json.loads(record.read_text())["validator"] if record.exists() else None
    received = part.stat().st_size if part.exists() and validator else 0
    headers = {"Accept-Encoding": "identity"}  # ranges refer to the encoded content
    if received:
        headers |= {"Range": f"bytes={received}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status_code == 416 and content_range == f"bytes */{received}":  # the download was already complete
                return check(part, response)
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise _TransientError("the file on the server has changed")
            if response.status_code not in (200, 206):
                message = f"the server answers {response.status_code} {response.reason}"
                if response.status_code in _TRANSIENT:
                    raise _TransientError(message)
                raise UserError(f"{without_credentials(url)}: {message}")
            first = received if response.status_code == 206 else 0
            if first and not content_range.startswith(f"bytes {first}-"):
                part.unlink()
                raise _TransientError(f"requested bytes from {first}, but the server sent {content_range or 'others'}")
            total = _total(response, first)
            with part.open("ab" if first else "wb") as file:
                # After `part` has been opened: content that "wb" has just removed belonged to the previous validator.
                write_json(record, {"url": without_credentials(url), "validator": _validator(response)})
                bar = progress(total=total, initial=first, describe=f"fetching {target.name}", unit="B", unit_scale=True)
                with bar:
                    for chunk in response.iter_content(_CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
            if total is not None and part.stat().st_size != total:
                raise _TransientError(f"the connection ended after {part.stat().st_size} of {total} bytes")
            return check(part, response)
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # an invalid URL
            raise UserError(f"{without_credentials(url)}: not a usable URL ({error})") from error
        raise _TransientError(f"cannot be fetched ({type(error).__name__})") from error


def _check(part: Path, response: requests.Response, expected: Expected | None) -> None:
    """Verifies a complete download against the server's MD5 and the expected size and SHA-256; removes it if it differs."""
    stated = _stated_md5(response)
    with part.open("rb") as file:
        md5 = base64.b64encode(hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()).decode()
    if stated is not None and stated != md5:
        part.unlink()
        raise _TransientError("the content does not match the MD5 that the server states")
    if expected is not None and (part.stat().st_size, sha256(part)) != (expected.size, expected.sha256):
        found = f"{part.stat().st_size:,} bytes with SHA-256 {sha256(part)[:16]}..."
        part.unlink()
        raise UserError(
            f"{without_credentials(response.url)}: the content is not the published file: {found}, "
            f"not {expected.size:,} bytes with {expected.sha256[:16]}..."
        )


def download(url: str, target: Path, expected: Expected | None = None) -> None:
    """Fetches `url` to `target`, and writes its SHA-256 to `<target>.sha256`.

    An incomplete download is kept next to `target`. The next attempt or run requests only the rest, if the file on the server has
    not changed (by ETag or date).

    Raises:
      UserError: the server refuses, all attempts fail, the disk is full, or the content is not what is `expected`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, record = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.exists():  # another process has fetched it
            return
        for wait in (*WAITS, None):
            try:
                _request(url, target, part, record, lambda part, response: _check(part, response, expected))
                break
            except _TransientError as error:
                if wait is None:
                    kept = part.stat().st_size if part.exists() else 0
                    advice = f"run again, which fetches the rest ({kept:,} bytes are kept)" if kept else "is there a network?"
                    raise UserError(f"{without_credentials(url)}: {error}", advice=advice) from error
                say(f"{without_credentials(url)}: {error}; trying again in {wait:g} s")
                time.sleep(wait)
            except OSError as error:
                raise UserError(
                    f"{part}: cannot be written ({error.strerror or error})", advice="free some space and run again"
                ) from error
        write_text(target.with_name(f"{target.name}.sha256"), sha256(part) + "\n")
        part.replace(target)
        record.unlink()
