"""Paths that users give: existence, and the path that was probably meant."""

import difflib
import unicodedata
from pathlib import Path

from pipeline.console import UserError
from pipeline.sources.naming import folded

__all__ = ["existing_folder", "missing_advice", "nearest"]


def nearest(path: Path) -> Path | None:
    """An existing path that `path` may mean: in other case, Unicode normalisation or spelling, or without stray quotes."""
    root, *parts = Path(str(path).strip().strip("'\"")).absolute().parts
    found = Path(root)
    for part in parts:
        if not (found / part).exists():
            try:
                siblings = sorted(entry.name for entry in found.iterdir())
            except OSError:
                return None
            same = [name for name in siblings if folded(name) == folded(part)]
            close = same or difflib.get_close_matches(part, siblings, n=1, cutoff=0.8)
            if not close:
                return None
            part = close[0]
        found /= part
    return found


def missing_advice(path: Path, otherwise: str) -> str:
    """Advice about a path that does not exist: the nearest one that does, or else `otherwise`."""
    near = nearest(path)
    if near is None:
        return otherwise
    same = unicodedata.normalize("NFC", str(near)) == unicodedata.normalize("NFC", str(path.absolute()))
    how = " (the same letters in another Unicode normalisation: copy the name from `ls`)" if same else ""
    return f"did you mean {near}{how}?"


def existing_folder(folder: str) -> Path:
    """The directory `data.folder`, with ~ expanded. Raises UserError if there is none, with the nearest path that exists."""
    root = Path(folder).expanduser()
    try:
        root.stat()
    except FileNotFoundError:
        advice = missing_advice(root, "give a directory of <class>/<video>")
        raise UserError(f"data.folder = {folder}: not found", advice=advice) from None
    except OSError as error:
        raise UserError(f"data.folder = {folder}: {error.strerror}", advice="check its permissions and its spelling") from None
    if not root.is_dir():
        raise UserError(f"data.folder = {folder}: not a directory", advice="a zip file belongs in data.archive")
    return root
