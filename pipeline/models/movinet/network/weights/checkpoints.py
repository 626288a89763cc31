"""Finds pretrained weights, verifies them, and restores them completely or not at all.

`model.weights` is the path of a tarball, folder, checkpoint prefix or PyTorch state dict, a URL, or `pretrained`, which tries the
published sources in order. Downloads are cached in `.cache/weights`.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import requests
import tensorflow as tf

from pipeline.console import UserError, say
from pipeline.files import atomic_folder, repository_root, sha256
from pipeline.models.movinet.network.variants import PUBLISHED_ROOT, Variant
from pipeline.models.movinet.network.weights.bundle import OBJECT_GRAPH, VALUE
from pipeline.models.movinet.network.weights.checkpoint_files import (
    inside_path,
    local_prefix,
    opened_tarball,
    prefix_in,
    read_prefix,
)
from pipeline.models.movinet.network.weights.fetching import WAITS, download
from pipeline.models.movinet.network.weights.layouts import (
    LAST_LAYER,
    LAYOUTS,
    Contents,
    contents_of,
    find_mismatch,
    find_other_types,
    layout_of,
)
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


def variable_keys(**roots: tf.Module) -> dict[str, tf.Variable]:
    """The variables that `tf.train.Checkpoint(**roots)` saves, by key: the shortest path to a variable in TensorFlow's syntax."""
    checkpoint = tf.train.Checkpoint(**roots)
    view = tf.train.TrackableView(checkpoint)
    keys: dict[str, tf.Variable] = {}
    queue, seen = [("", checkpoint)], {id(checkpoint)}
    for path, node in queue:
        for name, child in view.children(node).items():
            if id(child) in seen:
                continue
            seen.add(id(child))
            child_path = f"{path}/{name.replace('.', '..').replace('/', '.S')}".lstrip("/")
            if isinstance(child, tf.Variable):
                keys[child_path + VALUE] = child
            queue.append((child_path, child))
    keys.pop("save_counter" + VALUE, None)
    return keys


def _listed(names: list[str]) -> str:
    shown = ", ".join(name.removesuffix(VALUE) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _differences(contents: Contents, expected: dict[str, tuple[int, ...]]) -> list[str]:
    """Descriptions of the variables that are missing, left over or of another shape."""
    missing = sorted(set(expected) - set(contents.shapes))
    left = sorted((set(contents.shapes) - set(expected)) | set(contents.unknown))
    counts = [f"{len(names)} {word} ({_listed(names)})" for names, word in ((missing, "missing"), (left, "left over")) if names]
    other = [key for key in sorted(set(expected) & set(contents.shapes)) if contents.shapes[key] != expected[key]]
    return counts + [f"{key.removesuffix(VALUE)} is {contents.shapes[key]}, not {expected[key]}" for key in other[:3]]


def _read_values(prefix: Path, stored: Mapping[str, str], source: str) -> dict[str, np.ndarray]:
    """Reads values by name. TensorFlow verifies the checksum of each. stored: keys in the checkpoint, by name."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(key) for name, key in stored.items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:  # the reader raises many types
        message = f"{source}: damaged: {' '.join(str(error).split())[:200]}"
        raise UserError(message, advice="fetch it again") from error


def write_with_new_head(prefix: Path, variant: Variant, num_classes: int, target: Path) -> int | None:
    """Copies a checkpoint of published weights with a last layer of zeros for other classes, without building the network.

    Args:
      target: prefix of the copy.

    Returns the number of the network's variables; None, with nothing written, if the checkpoint is not exactly in the published
    layout: its network must then be built to find out whether the weights fit.

    Raises:
      UserError: not a checkpoint, or damaged.
    """
    checkpoint = read_prefix(prefix)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    counters = all("save_counter" in key for key in contents.ignored)
    if contents.saved_model or not counters or find_mismatch(layout_of(contents), LAYOUTS[variant.id]):
        return None
    if OBJECT_GRAPH not in checkpoint.index.tensors or find_other_types(contents, checkpoint.index):
        return None
    keys = sorted(checkpoint.index.tensors)
    values = _read_values(prefix, {key: key for key in keys}, str(prefix))
    for key in keys:
        if LAST_LAYER in key:
            values[key] = np.zeros((*values[key].shape[:-1], num_classes), np.float32)
    tensors = [values[key] for key in keys]
    tf.raw_ops.SaveV2(prefix=str(target), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=tensors)
    return len(contents.variables)


def restore(classifier: tf.Module, prefix: Path, source: str) -> int:
    """Restores all variables of `classifier`, or none; returns their number.

    Variables are matched by their keys in `tf.train.Checkpoint(model=classifier)`. Those of a SavedModel are matched by the names
    that they had when it was saved, never by their order, which differs between versions.

    Args:
      prefix: of such a checkpoint, or of the variables of a SavedModel: TensorFlow Hub's, a copy of it, or one inside another
        model.
      source: the user's name of the weights, for messages.

    Raises:
      UserError: not a checkpoint, damaged, or of another network. The message lists differences.
    """
    try:
        checkpoint = read_prefix(Path(prefix))
    except UserError as error:
        raise UserError(f"{source}: {error.message}", advice=error.advice) from error
    variables = variable_keys(model=classifier)
    contents = contents_of(checkpoint.index.shapes, checkpoint.names)
    expected = {key: tuple(variable.shape) for key, variable in variables.items()}
    differences = _differences(contents, expected)
    if differences:
        message, advice = find_mismatch(layout_of(contents), layout_of(contents_of(expected)), differences)
        raise UserError(f"{source}: {message}", advice=advice)
    other = find_other_types(contents, checkpoint.index)
    if other:
        raise UserError(f"{source}: {_listed(other)}: not float32", advice="give float32 weights")
    covered = {id(variable) for variable in variables.values()}
    if any(id(variable) not in covered for variable in classifier.variables):
        raise ValueError("the model has a variable that tf.train.Checkpoint does not save")
    values = _read_values(prefix, contents.variables, source)
    for key, value in values.items():
        variables[key].assign(value)
    ignored = [key for key in contents.ignored if "save_counter" not in key]
    if ignored:
        say(f"{source}: left out {len(ignored)} values that are not of the network ({_listed(ignored)})")
    return len(values)
