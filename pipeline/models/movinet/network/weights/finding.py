"""Finds the checkpoint of `model.weights`, and fetches, unpacks or converts it if needed.

`model.weights` is the path of a tarball, folder, checkpoint prefix or PyTorch state dict, a URL, or `pretrained`, which tries the
published sources in order. Downloads are cached in `.cache/weights`.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path

import requests

from pipeline.console import UserError, say
from pipeline.files import atomic_folder, repository_root, sha256
from pipeline.models.movinet.network.variants import PUBLISHED_ROOT, Variant
from pipeline.models.movinet.network.weights.checkpoint_files import (
    inside_path,
    local_prefix,
    opened_tarball,
    prefix_in,
)
from pipeline.models.movinet.network.weights.fetching import WAITS, download
from pipeline.models.movinet.network.weights.published import (
    cached_file,
    cached_kaggle_folder,
    expected,
    is_published_file,
    is_url,
    kaggle_cache,
    weights_cache,
)
from pipeline.models.movinet.network.weights.pytorch import is_pytorch, read_pytorch


def _fetch(url: str) -> Path:
    """Fetches the file at `url` into the cache, unless it is there. Raises UserError if the cached file has changed."""
    file = cached_file(url)
    record = file.with_name(f"{file.name}.sha256")
    if not file.exists():
        download(url, file, expected(url, PUBLISHED_ROOT))
    if sha256(file) != record.read_text().strip():
        raise UserError(f"{file}: has changed since it was fetched", advice="delete it and run again")
    return file


def _unpack(tarball: Path) -> Path:
    """Unpacks a tarball into the cache, unless it is there; returns the folder. Raises UserError; see `opened_tarball`."""
    folder = weights_cache() / f"unpacked-{sha256(tarball)[:16]}"
    if folder.exists():
        return folder
    with opened_tarball(tarball) as (archive, members), atomic_folder(folder) as part:
        for member in members:
            target = part / inside_path(member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as content, open(target, "wb") as file:
                shutil.copyfileobj(content, file)
    return folder


def _fetch_folder(url: str) -> Path:
    file = _fetch(url)
    try:
        return _unpack(file)
    except UserError:
        file.unlink()  # so that the next run does not take it from the cache
        raise


def _convert_pytorch(path: Path) -> Path:
    """Converts a PyTorch state dict to a TensorFlow checkpoint in the cache, unless it is there; returns the folder."""
    folder = weights_cache() / f"converted-{sha256(path)[:16]}"
    if not folder.exists():
        import tensorflow as tf  # here, because it takes seconds

        values = read_pytorch(path)
        with atomic_folder(folder) as part:
            tf.raw_ops.SaveV2(
                prefix=str(part / "ckpt-1"),
                tensor_names=list(values),
                shape_and_slices=[""] * len(values),
                tensors=list(values.values()),
            )
    return folder


def _fetch_from_kaggle(handle: str) -> Path:
    """Fetches a model from Kaggle Models into the cache with kagglehub, which resumes downloads; returns the folder."""
    os.environ.setdefault("KAGGLEHUB_CACHE", str(kaggle_cache()))
    import kagglehub

    for wait in WAITS:
        try:
            return Path(kagglehub.model_download(handle))
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            say(f"Kaggle Models: {type(error).__name__}; trying again in {wait:g} s")
            time.sleep(wait)
    return Path(kagglehub.model_download(handle))


def _published_prefix(variant: Variant) -> Path:
    if variant.checkpoint is None:
        raise UserError(
            f"no weights of {variant.id} are published",
            advice="set model.weights to a tarball, folder, checkpoint prefix or URL",
        )
    url = f"{PUBLISHED_ROOT}/{variant.checkpoint}"
    sources = {
        "published checkpoint": lambda: _fetch_folder(url),
        "Kaggle Models": lambda: _fetch_from_kaggle(variant.kaggle),
    }
    if cached_kaggle_folder(variant.kaggle) and not cached_file(url).exists():
        sources = dict(reversed(sources.items()))  # the cached one first
    failures = []
    for name, fetch in sources.items():
        try:
            return prefix_in(fetch())
        except Exception as error:  # kagglehub raises many types; all are reported if every source fails
            failures.append(f"{name}: {' '.join(getattr(error, 'message', str(error)).split())[:200]}")
            say(f"weights of {variant.id}: {failures[-1]}")
    raise UserError(
        f"the published weights of {variant.id} cannot be fetched ({'; '.join(failures)})",
        advice=f"fetch {variant.checkpoint} by other means and set model.weights to its path",
    )


def find_weights(weights: str, variant: Variant) -> Path | None:
    """Returns the checkpoint prefix of `model.weights`, fetching or converting it if needed; None for random weights.

    Raises:
      UserError: the weights are not found, cannot be fetched, or are of another format.
    """
    if weights == "random":
        return None
    if weights == "pretrained":
        return _published_prefix(variant)
    if is_url(weights):
        return prefix_in(_fetch_folder(weights))
    path = Path(weights).expanduser()
    path = path if path.is_absolute() else repository_root() / path
    if is_published_file(path) is False:
        say(f"{path}: not the published {path.name}: its size or SHA-256 is another; it is used anyway")
    try:
        return local_prefix(path) or prefix_in(_convert_pytorch(path) if is_pytorch(path) else _unpack(path))
    except UserError as error:
        raise UserError(f"model.weights: {error.message}", advice=error.advice) from error


def weights_digest(prefix: Path | None) -> str | None:
    """SHA-256 over a checkpoint's files, the key of weights in caches. None for random weights."""
    if prefix is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(prefix.parent.glob(f"{prefix.name}.*")):
        digest.update(sha256(path).encode())
    return digest.hexdigest()
