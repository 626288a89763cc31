"""The cache of fetched weights, and checksums of published files. Does not import TensorFlow."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlparse

from pipeline.console import UserError
from pipeline.files import repository_root, sha256
from pipeline.models.movinet.network.variants import PUBLISHED_FILES, PUBLISHED_ROOT
from pipeline.models.movinet.network.weights.fetching import Expected


def is_url(weights: str) -> bool:
    """Whether `model.weights` is a URL. Raises UserError for an invalid one."""
    try:
        return urlparse(weights).scheme in ("http", "https")
    except ValueError as error:
        raise UserError(f"model.weights = {weights}: not a usable URL ({error})") from error


def weights_cache() -> Path:
    return repository_root() / ".cache" / "weights"


def cached_file(url: str) -> Path:
    """The path in the cache of the file at `url`."""
    return weights_cache() / hashlib.sha256(url.encode()).hexdigest()[:16] / (Path(urlparse(url).path).name or "weights")


def expected(url: str, root: str = PUBLISHED_ROOT) -> Expected | None:
    """Size and SHA-256 of the file at `url`; None unless it is published at `root` and they are known."""
    entry = PUBLISHED_FILES.get(url.removeprefix(f"{root}/"))
    return None if entry is None else Expected(*entry)


def kaggle_cache() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or weights_cache() / "kaggle")


def cached_kaggle_folder(handle: str) -> Path | None:
    """kagglehub's folder of a completely fetched model; None if there is none. handle: with its version."""
    folder = kaggle_cache() / "models" / handle
    return folder if folder.is_dir() and folder.with_name(f"{folder.name}.complete").exists() else None


def is_published_file(path: Path) -> bool | None:
    """Whether a file with the name of a published tarball has its content; None if no such name or content is known."""
    if path.name not in PUBLISHED_FILES or not path.is_file():
        return None
    size, digest = PUBLISHED_FILES[path.name]
    return path.stat().st_size == size and sha256(path) == digest
