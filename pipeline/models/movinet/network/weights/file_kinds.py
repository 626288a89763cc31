"""Identifies files that are not weights by their content, for error messages."""

import zipfile
from pathlib import Path

from pipeline.console import UserError

ADVICE = "name a tarball, folder or checkpoint prefix of MoViNet weights"
DAMAGED = "not a whole tar archive"
_START = 1 << 12  # bytes to read


def _in_zip(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip archive that is cut short", "fetch it again"
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return "a Keras model (.keras)", ADVICE
    return "a zip archive", "unpack it and name the folder"


def kind_of(path: Path) -> tuple[str, str]:
    """The kind of a file that is not a complete tar archive, and advice for the user."""
    with path.open("rb") as file:
        start = file.read(_START)
    predict = f"it is an exported model: to classify with it, python -m commands.predict --model {path}"
    if not start:
        return "an empty file", "fetch it again"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model", predict
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file (.h5), as Keras writes weights", ADVICE
    if start.startswith(b"PK\x03\x04"):
        return _in_zip(path)
    if start.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):
        return "a PyTorch file of the format before version 1.6", "load it and save its state dict again"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")) or start[257:262] == b"ustar":
        return DAMAGED, "fetch it again"
    if start.startswith(b"version https://git-lfs.github.com"):
        return "a Git LFS pointer, not the file that it points to", "run git lfs pull"
    try:
        text = start.decode().strip()
    except UnicodeDecodeError:
        return "of an unknown format", ADVICE
    if text.lower().startswith(("<!doctype html", "<html", "<?xml")):
        return "a web page (the answer of a server to a failed download?)", "fetch it again"
    return "a text file", ADVICE


def not_weights(path: Path, error: Exception) -> UserError:
    """The UserError for a file that `tarfile` cannot open. error: the exception of `tarfile`."""
    kind, advice = kind_of(path)
    if kind == DAMAGED:
        return UserError(f"{path} is {kind} ({' '.join(str(error).split())[:120]})", advice=advice)
    return UserError(f"{path} is {kind}, not MoViNet weights", advice=advice)
