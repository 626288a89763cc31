"""Finds the checkpoint that a user's path stands for: a folder, a tarball, a prefix, or one of a checkpoint's files.

The doctor reads a checkpoint's index in place; `finding.py` unpacks it. Both use these rules. Does not import
TensorFlow.
"""

import gzip
import lzma
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.console import UserError
from pipeline.models.movinet.network.weights.bundle import FLOAT32, Index, NotAnIndexError, Tensor, read_index, read_names
from pipeline.models.movinet.network.weights.file_kinds import ADVICE, not_weights
from pipeline.models.movinet.network.weights.pytorch import is_pytorch, read_pytorch

MOST_BYTES = 4 << 30  # unpacked; the largest published weights are 130 MB, three times that with the state of an optimizer
MOST_FILES = 10_000
_TAR_ERRORS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_DATA_FILE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")
_VERSION = re.compile(r"(?:^|(?<=/))(\d+)(?=/)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read in place.

    Attributes:
      where: description for messages.
      prefix: relative to the folder or tarball.
      names: of the variables, by key; see `read_names`.
    """

    where: str
    prefix: str
    index: Index
    names: dict[str, str]


def choose_index(names: list[str], read_text: Callable[[str], str | None], where: str) -> str:
    """Chooses the index file in a folder: the one that the `checkpoint` file names, or the highest numbered version.

    Args:
      names: relative paths of all files, with "/".
      read_text: name -> content of the file; None if there is no such file.
      where: description for messages.

    Raises:
      UserError: there is no index file, or several and no rule to choose one.
    """
    # Files named ._* are metadata that macOS adds to archives.
    found = sorted(name for name in names if name.endswith(".index") and not PurePosixPath(name).name.startswith("._"))
    by_folder: dict[str, list[str]] = {}
    for name in found:
        by_folder.setdefault(str(PurePosixPath(name).parent), []).append(name)
    for folder, inside in by_folder.items():
        state = read_text(str(PurePosixPath(folder, "checkpoint"))) or ""
        if match := re.search(r'^model_checkpoint_path: "([^"]+)"', state, re.MULTILINE):
            latest = str(PurePosixPath(folder, f"{PurePosixPath(match[1]).name}.index"))
            by_folder[folder] = [latest] if latest in inside else inside
    found = [name for inside in by_folder.values() for name in inside]
    if len(found) > 1 and len({_VERSION.sub("#", name) for name in found}) == 1:  # 1/variables/..., 2/variables/...
        return max(found, key=lambda name: [int(number) for number in _VERSION.findall(name)])
    if len(found) != 1:
        listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(
            f"{where} should hold one checkpoint (a *.index file), found {listed or 'none'}",
            advice="name one of them" if found else ADVICE,
        )
    return found[0]


def _refuse_own_classifier(names: list[str], where: str) -> None:
    """Raises UserError for finetune's output, which also contains a checkpoint, but with another last layer."""
    descriptions = [name for name in names if PurePosixPath(name).name == "classifier.json"]
    if descriptions:
        folder = Path(where, PurePosixPath(descriptions[0]).parent)
        raise UserError(
            f"{where} is a classifier that this pipeline trained, not pretrained weights",
            advice=f"to classify with it: python -m commands.predict --model {folder}",
        )


def _check_data_files(names: list[str], prefix: str, index: Index, where: str) -> None:
    missing = [file for file in index.data_files(prefix) if file not in names]
    if missing:
        raise UserError(f"{where}: {prefix}.index is there, but not the values next to it ({missing[0]})", advice=ADVICE)


def _read(
    where: str, prefix: str, names: list[str], read: Callable[[str, int, int], bytes], name: str | None = None
) -> Checkpoint:
    """Reads the checkpoint at `prefix`.

    Args:
      where: the folder or tarball, for messages. name: `Checkpoint.where`; None is `where`.
      names: of all files.
      read: (file name, offset, size) -> bytes; size -1 reads to the end.
    """
    try:
        index = read_index(read(f"{prefix}.index", 0, -1))
        _check_data_files(names, prefix, index, where)
        data = index.data_files(prefix)
        return Checkpoint(
            name or where, prefix, index, read_names(index, lambda shard, offset, size: read(data[shard], offset, size))
        )
    except NotAnIndexError as error:
        raise UserError(f"{where} is not a readable TensorFlow checkpoint: {prefix}: {error}", advice=ADVICE) from error


def _read_part(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def read_prefix(prefix: Path) -> Checkpoint:
    """Reads the checkpoint at a prefix, whose index file exists."""
    folder = prefix.parent
    names = [path.name for path in folder.iterdir()]
    return _read(str(folder), prefix.name, names, lambda name, *part: _read_part(folder / name, *part), str(prefix))


def prefix_in(folder: Path) -> Path:
    """The prefix of the checkpoint in a folder or its subfolders. Raises UserError; see `choose_index`."""

    def text(name: str) -> str | None:
        file = folder / name
        return file.read_text(errors="replace") if file.is_file() else None

    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    _refuse_own_classifier(names, str(folder))
    return folder / choose_index(names, text, str(folder)).removesuffix(".index")


def local_prefix(path: Path) -> Path | None:
    """The prefix that a folder, a prefix or a file of a checkpoint stands for; None for other files.

    Raises:
      UserError: the path does not exist, or the checkpoint is incomplete or ambiguous.
    """
    if path.is_dir():
        return prefix_in(path)
    if path.with_name(f"{path.name}.index").is_file():
        return path
    if not path.is_file():
        raise UserError(f"{path}: no such tarball, folder or checkpoint prefix", advice=ADVICE)
    if path.name in ("checkpoint", "saved_model.pb", "keras_metadata.pb", "fingerprint.pb"):
        return prefix_in(path.parent)
    if path.suffix == ".index":
        return path.with_suffix("")
    if match := _DATA_FILE.fullmatch(path.name):
        if path.with_name(f"{match[1]}.index").is_file():
            return path.with_name(match[1])
        message = f"{path} holds the values of a checkpoint, and its index ({match[1]}.index) is not next to it"
        raise UserError(message, advice=ADVICE)
    return None


def inside_path(name: str) -> PurePosixPath | None:
    """The path of a member below the folder that it is unpacked to; None if it would lie outside.

    `tarfile.data_filter` would check this, but Python before 3.11.4 does not have it.
    """
    path = posixpath.normpath(name.lstrip("/"))
    return None if path == ".." or path.startswith("../") else PurePosixPath(path)


@contextmanager
def opened_tarball(path: Path) -> Iterator[tuple[tarfile.TarFile, list[tarfile.TarInfo]]]:
    """Opens a tar archive, compressed or not, and checks its members: only files and folders, safe paths, bounded size.

    Raises:
      UserError: it is not a complete tar archive, or a member fails the check.
    """
    try:
        with tarfile.open(path) as archive:
            members, size = [], 0
            for member in archive:
                if not (member.isfile() or member.isdir()):
                    raise UserError(f"{path}: {member.name} is neither a file nor a folder; not unpacked")
                if inside_path(member.name) is None:
                    raise UserError(f"{path}: unsafe path in the archive ({member.name}); not unpacked")
                size += member.size
                if size > MOST_BYTES or len(members) >= MOST_FILES:
                    raise UserError(f"{path}: unpacks to more than {MOST_BYTES >> 30} GB or {MOST_FILES} files; not unpacked")
                members.append(member)
            yield archive, members
    except _TAR_ERRORS as error:
        raise not_weights(path, error) from error
    except OSError as error:
        if error.errno is None:  # raised by bz2 about the content, not by the operating system
            raise not_weights(path, error) from error
        raise


def read_tarball(path: Path) -> Checkpoint:
    """Reads the checkpoint in a tarball without unpacking it. Raises UserError; see `opened_tarball` and `choose_index`."""
    with opened_tarball(path) as (archive, members):
        files = {str(PurePosixPath(member.name)): member for member in members if member.isfile()}

        def read(name: str, offset: int, size: int) -> bytes:
            with archive.extractfile(files[name]) as file:
                file.seek(offset)
                return file.read(size)

        def text(name: str) -> str | None:
            return read(name, 0, -1).decode(errors="replace") if name in files else None

        _refuse_own_classifier(list(files), str(path))
        prefix = choose_index(list(files), text, str(path)).removesuffix(".index")
        return _read(str(path), prefix, list(files), read, f"{path}: {prefix}")


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads the checkpoint that `path` stands for, in place. Raises UserError if it is none, or incomplete or damaged."""
    prefix = local_prefix(path)
    if prefix is None and is_pytorch(path):
        values = read_pytorch(path)
        types = {key: FLOAT32 if value.dtype == np.float32 else 0 for key, value in values.items()}
        tensors = {key: Tensor(types[key], value.shape, 0, 0, value.nbytes, 0) for key, value in values.items()}
        return Checkpoint(str(path), path.name, Index(tensors, shards=0), {})
    return read_tarball(path) if prefix is None else read_prefix(prefix)
