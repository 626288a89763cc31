"""Atomic writes (to a temporary name in the same folder, which is then renamed), JSON, hashes and scratch folders."""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.console import UserError
from pipeline.processes import identity, is_running, machine

_serial = itertools.count()  # of this process's temporary names: several threads may write the same file
_NAME_BYTES = 190  # of the file's name in a temporary name: file systems allow 255, and the owner takes up to 50
_OWNER = re.compile(r"\.(\d+)-([\d.]+)-([0-9a-f]{8})\.\d+\.part$")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{path}: the disk is full", advice="free some space and run again; finished work is kept") from error
        raise


def _part_of(path: Path) -> Path:
    """A temporary name next to `path`, unique to this process and thread: `<prefix><process>-<start>-<machine>.<number>.part`."""
    _, process, start = identity().split(":")
    return path.with_name(f"{_prefix(path)}{process}-{start}-{_short_machine()}.{next(_serial)}.part")


def _prefix(path: Path) -> str:
    return f".{os.fsencode(path.name)[:_NAME_BYTES].decode(errors='ignore')}."


def _short_machine() -> str:
    return f"{zlib.crc32(machine().encode()):08x}"


def _remove_abandoned_parts(path: Path) -> None:
    """Removes unfinished parts of `path` that killed processes of this machine left."""
    for part in path.parent.iterdir():
        owner = _OWNER.search(part.name)
        if owner is None or part.name[: owner.start() + 1] != _prefix(path) or owner[3] != _short_machine():
            continue
        if not is_running(f"{machine()}:{owner[1]}:{owner[2]}"):
            shutil.rmtree(part, ignore_errors=True)  # another process may be removing it too, and a leftover is harmless


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to `path`; on success it is renamed to `path`, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(path)
    try:
        with _disk_errors(path):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder next to `path`; on success it replaces `path`, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_parts(path)
    part = _part_of(path)
    part.mkdir()
    try:
        with _disk_errors(path):
            yield part
            if path.exists():
                shutil.rmtree(path)
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_can_write(path: Path) -> None:
    """Makes the folder of `path`. Raises UserError if no file can be written there: call it before long work."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder", advice="give the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        reason = "a folder of it is a file" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
        raise UserError(f"{path}: cannot be written ({reason})", advice="give another path") from None


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON with a final newline; the order of keys is kept."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON that an earlier stage wrote; raises UserError if the file is missing or invalid."""
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
    """A short hash of JSON-serialisable values: equal values have equal keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def repository_root() -> Path:
    """The repository's root, absolute; if DVC runs an experiment in a temporary copy, that of the original repository."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@contextmanager
def resumable_scratch(kind: str, key: str) -> Iterator[Path]:
    """A scratch folder for resumable work, locked by one process at a time: removed after success, else kept."""
    folder = scratch(kind, key)
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)  # another process may have removed it while this one waited for the lock
        yield folder
        shutil.rmtree(folder)


def scratch(kind: str, key: str) -> Path:
    """`.cache/<kind>/<key>` in the repository. It outlives a killed stage, whose outputs DVC deletes before it runs again."""
    folder = repository_root() / ".cache" / kind / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder
