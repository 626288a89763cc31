"""Files that appear whole or not at all: everything is written beside its final name, then renamed."""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.console import UserError
from pipeline.processes import identity, is_running, machine

_serial = itertools.count()  # of this process's parts: several threads may write a file of one name at once
_NAME_BYTES = 190  # of a file's name that its part's name begins with: file systems allow 255, and the owner takes up to 50
_OWNER = re.compile(r"\.(\d+)-([\d.]+)-([0-9a-f]{8})\.\d+\.part$")


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


def _part_of(path: Path) -> Path:
    """A name beside `path` that no other process or thread uses: `<beginning><process>-<since>-<machine>.<number>.part`."""
    _, number, began = identity().split(":")
    return path.with_name(f"{_beginning(path)}{number}-{began}-{_short_machine()}.{next(_serial)}.part")


def _beginning(path: Path) -> str:
    return f".{os.fsencode(path.name)[:_NAME_BYTES].decode(errors='ignore')}."


def _short_machine() -> str:
    return f"{zlib.crc32(machine().encode()):08x}"


def _clear_parts_of_the_dead(path: Path) -> None:
    """Removes what processes of this machine left half written when they were killed."""
    for part in path.parent.iterdir():
        owner = _OWNER.search(part.name)
        if owner is None or part.name[: owner.start() + 1] != _beginning(path) or owner[3] != _short_machine():
            continue
        if not is_running(f"{machine()}:{owner[1]}:{owner[2]}"):
            shutil.rmtree(part, ignore_errors=True)  # another process may be at the same, and what stays harms nothing


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is renamed to `path`, on any error it is removed."""
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
    """Yields an empty temporary folder beside `path`; on success it replaces `path`, on any error it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_parts_of_the_dead(path)
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


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as part:
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
def resumable_scratch(kind: str, key: str) -> Iterator[Path]:
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
