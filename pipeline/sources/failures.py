"""Failures of reading an archive: whether a retry can help, what failed, and what to do."""

import zipfile
import zlib
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from remotezip import RemoteZipError
from requests import exceptions as http

__all__ = ["Problem", "RangeError", "describe", "is_final", "lacks_suffix_ranges"]

_TRANSIENT_STATUS = {408, 425, 429}  # RFC 9110, RFC 6585; other 4xx are permanent
_NO_SUFFIX_STATUS = {400, 405, 416, 501}  # how servers that know only ranges from the start answer "the last n bytes"
_MALFORMED = (http.InvalidURL, http.InvalidSchema, http.MissingSchema, http.InvalidProxyURL, http.TooManyRedirects)
_CONNECTION = {  # by a word in the text of the error
    "NameResolution": ": its name does not resolve",
    "refused": ": the connection was refused",
    "unreachable": ": the network is unreachable",
    "aborted": ": the connection broke",
    "reset": ": the connection broke",
}


class RangeError(RemoteZipError):
    """A failed range request. reason: the error of `requests`, of which remotezip's RemoteIOError keeps only the text.

    Not an OSError like its reason, because zipfile takes an OSError while it looks for the index to mean that the file is no zip.
    """

    def __init__(self, reason: BaseException):
        super().__init__(str(reason))
        self.reason = reason


def _reason(error: BaseException) -> BaseException:
    return error.reason if isinstance(error, RangeError) else error


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, requests.HTTPError) and error.response is not None else None


def _without_ranges(error: BaseException) -> bool:
    return isinstance(error, RemoteZipError) and "support range requests" in str(error)


def lacks_suffix_ranges(error: BaseException) -> bool:
    """Whether the failure may come from a server that does not support requests for the last bytes."""
    error = _reason(error)
    return _without_ranges(error) or isinstance(error, zipfile.BadZipFile) or _status(error) in _NO_SUFFIX_STATUS


def is_final(error: BaseException) -> bool:
    """Whether the same request would fail again."""
    error = _reason(error)
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in _TRANSIENT_STATUS
    if isinstance(error, requests.RequestException):
        return isinstance(error, (http.SSLError, *_MALFORMED))
    if isinstance(error, NotImplementedError | RuntimeError):
        return True
    # An OSError that is not a network error comes from the disk.
    return _without_ranges(error) or (isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError))


class Problem(NamedTuple):
    """What failed, in a phrase without names of Python classes, and what to do; empty if the only advice is to try again."""

    what: str
    advice: str = ""


def _http_problem(status: int) -> Problem:
    if status in (404, 410):
        return Problem(f"not found (HTTP {status})", "check data.archive")
    if status in (401, 403):
        advice = "check data.archive, or fetch the archive by other means and give its path"
        return Problem(f"access denied (HTTP {status})", advice)
    if status == 416:
        what = "the server refused the byte range (HTTP 416): the file is empty, too small for a zip, or was replaced meanwhile"
        return Problem(what, "check data.archive")
    if status in (429, 503):
        return Problem(f"the server is busy (HTTP {status})", "run again later, or with fewer speed.download_connections")
    return Problem(f"the server answered HTTP {status}", "check data.archive, or run again later")


def describe(error: BaseException, timeout: float, index: bool = False) -> Problem:
    """Describes a failure. timeout: seconds, as configured. index: whether it occurred while the index was read."""
    error = _reason(error)
    status = _status(error)
    if status is not None:
        return _http_problem(status)
    if isinstance(error, http.Timeout | urllib3.exceptions.TimeoutError) or "Read timed out" in str(error):
        what = f"no byte came within speed.download_timeout = {timeout:g} s"
        return Problem(what, "check the network, or raise speed.download_timeout")
    if isinstance(error, http.SSLError):
        what = "the server's certificate could not be verified"
        return Problem(what, "check data.archive and the certificates of this machine")
    if isinstance(error, _MALFORMED):
        return Problem(f"not an address that can be fetched ({error})", "check data.archive")
    if isinstance(error, http.ConnectionError):
        host = urlsplit(error.request.url).hostname if getattr(error, "request", None) is not None else "the server"
        why = next((why for word, why in _CONNECTION.items() if word in str(error)), "")
        return Problem(f"cannot reach {host}{why}", "check the network and data.archive")
    if _without_ranges(error):
        return Problem("the server does not support range requests", "fetch the archive whole and give its path as data.archive")
    if isinstance(error, zipfile.BadZipFile | zlib.error):
        if index:
            return Problem(f"not a whole zip archive ({error}); it may be truncated", "check data.archive, or fetch it again")
        return Problem(f"damaged in the archive or on the way ({error})")
    if isinstance(error, urllib3.exceptions.HTTPError | EOFError | RemoteZipError):
        return Problem("the connection was cut or the archive is truncated")
    if isinstance(error, OSError) and error.strerror:
        return Problem(f"{error.filename or 'file'}: {error.strerror}")
    return Problem(" ".join(str(error).split()) or type(error).__name__)
