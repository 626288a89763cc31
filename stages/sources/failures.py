"""What goes wrong between here and an archive: whether trying again can help, and one phrase that says what it was."""

import zipfile
import zlib
from urllib.parse import urlsplit

import requests
import urllib3
from remotezip import RemoteZipError
from requests import exceptions as http

__all__ = ["RangeError", "describe", "is_final"]

# A server that answers so may answer otherwise in a while (RFC 9110, RFC 6585); other 4xx stay.
_PASSING_STATUS = {408, 425, 429}
# Answers to "the last n bytes" of servers that know only ranges from the start.
_NO_SUFFIX_STATUS = {400, 405, 416, 501}
_MALFORMED = (http.InvalidURL, http.InvalidSchema, http.MissingSchema, http.InvalidProxyURL, http.TooManyRedirects)


class RangeError(RemoteZipError):
    """A range that did not come. reason: the error of `requests`, of which remotezip's RemoteIOError keeps only the text.

    Not an OSError like its reason: zipfile takes an OSError while it looks for the index to mean that the file is no zip.
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


def is_final(error: BaseException, suffix_range: bool = False) -> bool:
    """True where the same request again would fail again.

    suffix_range: asks instead whether the failure may come from a server that does not know suffix ranges.
    """
    error = _reason(error)
    status = _status(error)
    if suffix_range:
        return _without_ranges(error) or isinstance(error, zipfile.BadZipFile) or status in _NO_SUFFIX_STATUS
    if status is not None:
        return 400 <= status < 500 and status not in _PASSING_STATUS
    if isinstance(error, requests.RequestException):
        return isinstance(error, (http.SSLError, *_MALFORMED))
    if isinstance(error, NotImplementedError | RuntimeError):
        return True
    # An OSError with an errno that is not the network's is the disk's.
    return _without_ranges(error) or (isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError))


def _http_phrase(status: int) -> str:
    if status in (404, 410):
        return f"not found (HTTP {status}); check data.archive"
    if status in (401, 403):
        return f"access denied (HTTP {status}); check data.archive, or fetch the archive by other means and give its path"
    if status == 416:
        return "the server refused the byte range (HTTP 416); the file is empty, too small for a zip, or was replaced meanwhile"
    if status in (429, 503):
        return f"the server is busy (HTTP {status}); run again later, or with fewer data.workers"
    return f"the server answered HTTP {status}"


def _no_connection(error: BaseException) -> str:
    host = urlsplit(error.request.url).hostname if getattr(error, "request", None) is not None else "the server"
    text = str(error)
    for sign, why in (
        ("NameResolution", "its name does not resolve"),
        ("refused", "the connection was refused"),
        ("unreachable", "the network is unreachable"),
        ("aborted", "the connection broke"),
        ("reset", "the connection broke"),
    ):
        if sign in text:
            return f"cannot reach {host}: {why}; check the network and data.archive"
    return f"cannot reach {host}; check the network and data.archive"


def describe(error: BaseException, timeout: float, index: bool = False) -> str:
    """What went wrong, in one line that names no class of Python's. timeout: seconds, as configured. index: while opening the
    archive.
    """
    error = _reason(error)
    status = _status(error)
    if status is not None:
        return _http_phrase(status)
    if isinstance(error, http.Timeout | urllib3.exceptions.TimeoutError) or "Read timed out" in str(error):
        return f"no byte came within data.timeout = {timeout:g} s"
    if isinstance(error, http.SSLError):
        return "the server's certificate could not be verified; check data.archive and the system's certificates"
    if isinstance(error, _MALFORMED):
        return f"not an address that can be fetched ({error}); check data.archive"
    if isinstance(error, http.ConnectionError):
        return _no_connection(error)
    if _without_ranges(error):
        return "the server does not support range requests; fetch the archive whole and give its path as data.archive"
    if isinstance(error, zipfile.BadZipFile | zlib.error):
        if index:
            return f"not a whole zip archive ({error}); it may be truncated: check data.archive, or fetch it again"
        return f"damaged in the archive or on the way ({error})"
    if isinstance(error, urllib3.exceptions.HTTPError | EOFError | RemoteZipError):
        return "the connection was cut or the archive is truncated"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
