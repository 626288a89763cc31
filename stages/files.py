"""Files that appear whole or not at all: everything is written beside its final name, then renamed."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from stages.console import UserError


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: the disk is full", advice="free some space and run again, what is already made is kept"
            ) from error
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is renamed to `path`, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _disk_errors(path):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; on success it replaces `path`, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        with _disk_errors(path):
            yield part
            if path.exists():
                shutil.rmtree(path)
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON with a final newline, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON that an earlier stage wrote; raises UserError when it is absent or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found", advice="run `dvc repro`, which makes it") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error})", advice="delete it and run `dvc repro`") from None


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_key(*parts: Any) -> str:
    """A short key of JSON-able values: equal values, equal key."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def repository_root() -> Path:
    """The repository's root, absolute: the original one when DVC runs an experiment in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@contextmanager
def unfinished(kind: str, key: str) -> Iterator[Path]:
    """A scratch folder for work that may be killed: one process at a time, gone once the work has succeeded, kept otherwise."""
    folder = scratch(kind, key)
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)  # another process may have finished with it while this one waited
        yield folder
        shutil.rmtree(folder)


def scratch(kind: str, key: str) -> Path:
    """A folder that outlives a killed stage (DVC deletes outputs before it runs one): `.cache/<kind>/<key>` of the repository."""
    folder = repository_root() / ".cache" / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder
