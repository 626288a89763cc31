"""Files on web servers, downloaded before they are classified, so that they are read like local files, twice if need be."""

import time
from pathlib import Path

import requests
import tenacity

from pipeline.console import UserError, progress
from pipeline.inference.live import FIRST_WAIT, LONGEST_WAIT, Patience

_CUT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_CHUNK = 1 << 16


def download(name: str, url: str, target: Path, patience: Patience) -> None:
    """Downloads a file, resuming after a cut where the server can, and from the start where it cannot.

    name: the address as messages may show it. Raises UserError after `patience.reconnect` seconds without data.
    """
    latest = time.monotonic()
    version = None  # of the file: a part of one version is not resumed with another
    bar = progress(describe=f"downloading {name}", unit="B", unit_scale=True, leave=False)

    def attempt() -> None:
        nonlocal latest, version
        size = target.stat().st_size if target.exists() and version else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-", "If-Range": version} if size else {})
        with requests.get(url, headers=headers, stream=True, timeout=patience.timeout) as response:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            etag = response.headers.get("ETag", "")
            version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
            bar.n = size if resumed else 0
            bar.total = bar.n + int(response.headers.get("Content-Length", 0)) or None
            with target.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    file.write(chunk)
                    latest = time.monotonic()
                    bar.update(len(chunk))

    try:
        with bar:
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(_CUT),
                stop=lambda state: time.monotonic() - latest >= patience.reconnect,
                wait=tenacity.wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT),
                reraise=True,
            )(attempt)
    except requests.HTTPError as error:
        raise UserError(f"{name}: {error.response.status_code} {error.response.reason}") from None
    except requests.RequestException:  # its text contains the address
        message = f"{name}: the download was cut; gave up after {patience.reconnect:g} s without data"
        raise UserError(message, advice="try again, or download it and name the file") from None
