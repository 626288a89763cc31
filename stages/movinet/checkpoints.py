"""Finds pretrained weights, verifies them, and restores them completely or not at all.

`model.weights` names a tarball, a folder, a checkpoint prefix or a URL, or is `pretrained`: then the published sources are tried
in order, and what is fetched is kept in `.cache/weights`.
"""

import base64
import hashlib
import os
import tarfile
import zlib
from pathlib import Path
from urllib.parse import urlparse

import requests
import tensorflow as tf

from stages.console import UserError, progress, say
from stages.files import repository_root, sha256, whole_file, whole_folder
from stages.movinet.variants import PUBLISHED_ROOT, Variant

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
TIMEOUT = 30  # seconds without a byte


def weights_cache() -> Path:
    return repository_root() / ".cache" / "weights"


def _download(url: str, target: Path) -> None:
    """Fetches `url` whole, checked against the length and the MD5 the server states; raises UserError."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as response:
            if response.status_code != 200:
                raise UserError(f"{url}: the server answers {response.status_code} {response.reason}")
            length = int(response.headers.get("Content-Length", 0)) or None
            stated = dict(
                part.strip().split("=", 1) for part in response.headers.get("x-goog-hash", "").split(",") if "=" in part
            )
            digest = hashlib.md5(usedforsecurity=False)
            with whole_file(target) as part, open(part, "wb") as file:
                with progress(total=length, describe=f"fetching {target.name}", unit="B", unit_scale=True) as bar:
                    for chunk in response.iter_content(1 << 20):
                        file.write(chunk)
                        digest.update(chunk)
                        bar.update(len(chunk))
                file.flush()
                if length is not None and file.tell() != length:
                    raise UserError(f"{url}: ended after {file.tell()} of {length} bytes; run again")
                if "md5" in stated and base64.b64encode(digest.digest()).decode() != stated["md5"]:
                    raise UserError(f"{url}: what arrived does not match the server's MD5; run again")
    except requests.RequestException as error:
        raise UserError(f"{url}: cannot be fetched ({type(error).__name__}); is there a network?") from error


def _fetched(url: str) -> Path:
    """The file at `url`, from the cache when it is there and unchanged since it was fetched."""
    name = Path(urlparse(url).path).name or "weights"
    folder = weights_cache() / hashlib.sha256(url.encode()).hexdigest()[:16]
    file, record = folder / name, folder / f"{name}.sha256"
    if file.exists() and record.exists():
        if sha256(file) != record.read_text().strip():
            raise UserError(f"{file}: has changed since it was fetched; delete it and run again")
        return file
    _download(url, file)
    with whole_file(record) as part:
        part.write_text(sha256(file) + "\n")
    return file


def _unpacked(tarball: Path) -> Path:
    """Unpacks a tarball of plain files and folders into the cache; refuses links, devices and paths that leave the folder."""
    folder = weights_cache() / f"unpacked-{sha256(tarball)[:16]}"
    if folder.exists():
        return folder
    try:
        with tarfile.open(tarball) as archive, whole_folder(folder) as part:
            members = archive.getmembers()
            for member in members:
                if not (member.isfile() or member.isdir()):
                    raise UserError(f"{tarball}: {member.name} is neither a file nor a folder; not unpacked")
            archive.extractall(part, members=members, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{tarball}: unsafe path in the archive ({error}); not unpacked") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"model.weights: {tarball} is not a whole tar archive ({' '.join(str(error).split())[:200]})") from error
    return folder


def _prefix_in(folder: Path) -> Path:
    """The one checkpoint in a folder (or below it), as its prefix."""
    latest = tf.train.latest_checkpoint(str(folder))
    if latest:
        return Path(latest)
    found = sorted(path.with_suffix("") for path in folder.rglob("*.index"))
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise UserError(f"model.weights: {folder} should hold one checkpoint (a *.index file); found {names}")
    return found[0]


def _local_prefix(path: Path) -> Path:
    if path.is_dir():
        return _prefix_in(path)
    if path.is_file() and not path.name.endswith(".index"):
        return _prefix_in(_unpacked(path))
    prefix = path.with_suffix("") if path.name.endswith(".index") else path
    if prefix.with_name(prefix.name + ".index").exists():
        return prefix
    raise UserError(f"model.weights = {str(path)!r}: no such tarball, folder or checkpoint prefix")


def _from_kaggle(handle: str) -> Path:
    """The folder of a model on Kaggle Models, fetched by kagglehub into the cache."""
    os.environ.setdefault("KAGGLEHUB_CACHE", str(weights_cache() / "kaggle"))
    import kagglehub

    return Path(kagglehub.model_download(handle))


def _published_prefix(variant: Variant) -> Path:
    if variant.checkpoint is None:
        raise UserError(
            f"no weights of {variant.id} are published; set model.weights to a tarball, folder, checkpoint prefix or URL, "
            "or to random"
        )
    failures = []
    for name, fetch in (
        ("published checkpoint", lambda: _unpacked(_fetched(f"{PUBLISHED_ROOT}/{variant.checkpoint}"))),
        ("Kaggle Models", lambda: _from_kaggle(variant.kaggle)),
    ):
        try:
            return _prefix_in(fetch())
        except Exception as error:  # kagglehub raises many types; whatever it is, the next source is tried and all are reported
            failures.append(f"{name}: {' '.join(str(error).split())[:200]}")
            say(f"weights of {variant.id}: {failures[-1]}")
    raise UserError(
        f"the published weights of {variant.id} cannot be had ({'; '.join(failures)}). Fetch {variant.checkpoint} "
        "yourself and set model.weights to its path, or set model.weights=random"
    )


def find_weights(weights: str, variant: Variant) -> Path | None:
    """The checkpoint prefix that `model.weights` stands for; None for random weights. Raises UserError when it cannot be had."""
    if weights == "random":
        return None
    if weights == "pretrained":
        return _published_prefix(variant)
    scheme = urlparse(weights).scheme
    if scheme in ("http", "https"):
        return _prefix_in(_unpacked(_fetched(weights)))
    path = Path(weights).expanduser()
    return _local_prefix(path if path.is_absolute() else repository_root() / path)


def weights_digest(prefix: Path | None) -> str | None:
    """A SHA-256 over a checkpoint's files: what "the same weights" means in caches. None for random weights."""
    if prefix is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(prefix.parent.glob(f"{prefix.name}.*")):
        digest.update(sha256(path).encode())
    return digest.hexdigest()


def variable_keys(**roots: tf.Module) -> dict[str, tf.Variable]:
    """The key of every variable that `tf.train.Checkpoint(**roots)` saves: the shortest path to it, as TensorFlow names it."""
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


def restore(classifier: tf.Module, prefix: Path, source: str) -> int:
    """Restores every variable of `classifier`; returns how many. A partial restore is an error, and so are left-over values.

    Args:
      prefix: a checkpoint saved as `tf.train.Checkpoint(model=classifier)`, or the variables of a SavedModel of the classifier.
      source: what the user called it, for messages.

    Raises:
      UserError: not a checkpoint, or of another network; says what is missing, left over or of another shape.
    """
    try:
        shapes = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise UserError(f"{source}: not a readable TensorFlow checkpoint ({' '.join(str(error).split())[:200]})") from error
    saved = {key: tuple(shape) for key, shape in shapes.items() if key.endswith(VALUE) and "optimizer" not in key}
    saved.pop("save_counter" + VALUE, None)
    hint = "is it the checkpoint of another variant?"
    if any(key.startswith("model/") for key in saved):
        root = tf.train.Checkpoint(model=classifier)
        expected = {key: tuple(variable.shape) for key, variable in variable_keys(model=classifier).items()}
        missing, left = sorted(set(expected) - set(saved)), sorted(set(saved) - set(expected))
        problems = [
            f"{len(names)} {word} ({_listed(names)})" for names, word in ((missing, "missing"), (left, "left over")) if names
        ]
        problems += [
            f"{key.removesuffix(VALUE)} is {saved[key]}, not {expected[key]}"
            for key in sorted(set(saved) & set(expected))
            if saved[key] != expected[key]
        ][:3]
        if problems:
            raise UserError(f"{source}: does not fit this model: {'; '.join(problems)}; {hint}")
    else:
        if len(saved) != len(classifier.variables):
            raise UserError(f"{source}: holds {len(saved)} variables, this model has {len(classifier.variables)}; {hint}")
        root = tf.train.Checkpoint(classifier)
    try:
        root.read(str(prefix)).assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{source}: does not fit this model ({' '.join(str(error).split())[:300]}); {hint}") from error
    return len(classifier.variables)


def replace_values(prefix: Path, target: Path, values: dict[str, "tf.Tensor"]) -> None:
    """Writes a copy of a checkpoint with some variables' values replaced, without building the model it belongs to.

    Args:
      prefix: the checkpoint to copy; target: the prefix to write, with a `checkpoint` file beside it.
      values: checkpoint key -> new value, of the same dtype; the shape may differ.

    Raises:
      KeyError: a key the checkpoint does not have.
    """
    reader = tf.train.load_checkpoint(str(prefix))
    names = sorted(reader.get_variable_to_shape_map())
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise KeyError(f"{prefix} has no {', '.join(unknown)}")
    tensors = [values.get(name, reader.get_tensor(name)) for name in names]
    target.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(prefix=str(target), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    (target.parent / "checkpoint").write_text(
        f'model_checkpoint_path: "{target.name}"\nall_model_checkpoint_paths: "{target.name}"\n'
    )
