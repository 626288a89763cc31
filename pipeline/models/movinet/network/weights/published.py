"""Where published weights are kept once fetched, and which files are known to be the published ones. No TensorFlow."""

import hashlib
import os
from pathlib import Path
from urllib.parse import urlparse

from pipeline.console import UserError
from pipeline.files import repository_root, sha256
from pipeline.models.movinet.network.variants import PUBLISHED_FILES, PUBLISHED_ROOT
from pipeline.models.movinet.network.weights.fetching import Expected


def is_url(weights: str) -> bool:
    """Whether `model.weights` is an address. Raises UserError where it is one that cannot be read."""
    try:
        return urlparse(weights).scheme in ("http", "https")
    except ValueError as error:
        raise UserError(f"model.weights = {weights}: not a usable URL ({error})") from error


def weights_cache() -> Path:
    return repository_root() / ".cache" / "weights"


def cached_file(url: str) -> Path:
    """Where what is fetched from `url` is kept."""
    return weights_cache() / hashlib.sha256(url.encode()).hexdigest()[:16] / (Path(urlparse(url).path).name or "weights")


def expected(url: str, root: str = PUBLISHED_ROOT) -> Expected | None:
    """What is known of the file at `url`, if it is one of those published at `root`."""
    known = PUBLISHED_FILES.get(url.removeprefix(f"{root}/"))
    return None if known is None else Expected(*known)


def kaggle_cache() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or weights_cache() / "kaggle")


def cached_kaggle_folder(handle: str) -> Path | None:
    """Where kagglehub has a model, whole, of `handle` (with its version); None where it has not."""
    folder = kaggle_cache() / "models" / handle
    return folder if folder.is_dir() and folder.with_name(f"{folder.name}.complete").exists() else None


def is_published_file(path: Path) -> bool | None:
    """Whether a file with a published tarball's name is that tarball; None where nothing is known of such a name."""
    if path.name not in PUBLISHED_FILES or not path.is_file():
        return None
    size, digest = PUBLISHED_FILES[path.name]
    return path.stat().st_size == size and sha256(path) == digest
