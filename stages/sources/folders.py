"""A user's own videos: a directory of `<class>/<video>`, or a CSV that lists them. Nothing of theirs is ever changed."""

import difflib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas

from stages.console import UserError, say
from stages.sources.manifest import SPLITS
from stages.sources.naming import VIDEO_SUFFIXES, Clip, Found, is_hidden, is_video, named_clip, safe_parts, ucf_name

__all__ = ["folder_clips", "links_may_be_shared", "listed_clips", "place"]

_REQUIRED = ("path", "label")
_OPTIONAL = ("group", "split")
# A hard link is refused across devices, by some file systems, and for files of others (fs.protected_hardlinks): then a copy
# serves.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def _existing(folder: str) -> Path:
    root = Path(folder).expanduser()
    if not root.exists():
        raise UserError(f"data.folder = {folder}: not found; give a directory of <class>/<video>")
    if not root.is_dir():
        raise UserError(f"data.folder = {folder}: not a directory; a zip file belongs in data.archive")
    return root


def _walk(root: Path) -> Iterator[str]:
    """Posix paths under `root` of all files, sorted within a folder; follows links to folders, but none twice."""
    seen = set()
    for current, folders, files in os.walk(root, followlinks=True):
        real = Path(current).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        here = Path(current).relative_to(root)
        yield from ((here / file).as_posix() for file in sorted(files))


def folder_clips(folder: str) -> Found:
    """The videos under a directory. A video's class is the folder it lies in, or what a UCF-101 name says.

    A folder directly under `folder` that holds no video at all counts as an empty class. Raises UserError where `folder` is no
    directory.
    """
    root = _existing(folder)
    clips, ignored = [], 0
    for path in _walk(root):
        clip = None
        if not is_hidden(PurePosixPath(path).parts) and is_video(path):
            clip = named_clip(path, (root / path).stat().st_size, f"data.folder = {folder}")
        if clip is None:
            ignored += 1
        else:
            clips.append(clip)
    used = {PurePosixPath(clip.source).parts[0] for clip in clips}
    # A link may lead to what was found under another name, so only real folders can be empty classes.
    folders = [
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink() and not is_hidden([entry.name])
    ]
    empty = sorted(set(folders) - used)
    return Found(clips, ignored, empty)


def _read_listing(listing: str) -> pandas.DataFrame:
    """The CSV as text, stripped, with the columns it has of path, label, group and split."""
    try:
        table = pandas.read_csv(
            Path(listing).expanduser(), dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except FileNotFoundError:
        raise UserError(f"data.listing = {listing}: not found") from None
    except (ValueError, pandas.errors.ParserError, OSError) as error:
        raise UserError(f"data.listing = {listing}: not a CSV file ({' '.join(str(error).split())})") from None
    table.columns = [str(column).strip() for column in table.columns]
    known = [*_REQUIRED, *_OPTIONAL]
    missing = [column for column in _REQUIRED if column not in table.columns]
    if missing:
        raise UserError(
            f"data.listing = {listing}: no column {', '.join(missing)}; the first line must be path,label[,group,split]"
        )
    others = [column for column in table.columns if column not in known]
    for column in others:
        close = difflib.get_close_matches(column.lower(), known, n=1)
        if close:
            raise UserError(f"data.listing = {listing}: column {column!r} looks like {close[0]!r}; rename it, or drop it")
    if others:
        say(f"data.listing = {listing}: columns not used: {', '.join(others)}")
    if not len(table):
        raise UserError(f"data.listing = {listing}: lists no files")
    table = table[[column for column in known if column in table.columns]]
    return table.apply(lambda column: column.fillna("").str.strip())


def listed_clips(folder: str, listing: str) -> Found:
    """The videos that a CSV `path,label[,group,split]` names, with paths relative to `folder`.

    Where the group is absent or empty, a UCF-101 name gives it, else each file is a group of its own. Splits are all given or
    none.
    Raises UserError naming file and line for a path that is unsafe, absent, no video or named twice, a bad label, an unknown
    split.
    """
    root = _existing(folder)
    table = _read_listing(listing)
    splits = "split" in table.columns and bool((table["split"] != "").any())
    clips, first_line = [], {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        where = f"{listing}, row {line}"
        path = "/".join(safe_parts(row["path"], where))
        if path in first_line:
            raise UserError(f"{where}: {path} is listed already in row {first_line[path]}; keep one")
        first_line[path] = line
        label = row["label"]
        if not label or len(safe_parts(label, where)) != 1 or is_hidden([label]) or "/" in label:
            raise UserError(
                f"{where}: label {label!r} cannot be a class; give a name without slashes that does not start with a dot"
            )
        if not is_video(path):
            raise UserError(f"{where}: {path} is not a video; known suffixes: {', '.join(VIDEO_SUFFIXES)}")
        if not (root / path).is_file():
            raise UserError(f"{where}: {root / path} not found; paths are relative to data.folder")
        split = row.get("split", "") if splits else None
        if splits and split not in SPLITS:
            raise UserError(f"{where}: unknown split {split!r}; it must be one of {', '.join(SPLITS)}")
        ucf = ucf_name(PurePosixPath(path).name)
        group = row.get("group") or (f"{ucf[0]}_g{ucf[1]:02d}" if ucf else path)
        clips.append(Clip(path, label, group, ucf[1] if ucf else None, (root / path).stat().st_size, split=split))
    return Found(clips, splits=splits)


def links_may_be_shared() -> bool:
    """False where DVC itself makes hard links (`cache.type`): it makes what is linked read-only, and that would be the user's own
    file.
    """
    from dvc.config import Config  # takes half a second, which only folders need to pay

    kinds = Config.from_cwd(validate=False).get("cache", {}).get("type") or []
    return "hardlink" not in (kinds.split(",") if isinstance(kinds, str) else kinds)


def place(source: Path, target: Path, link: bool) -> str | None:
    """Puts the content of `source` at `target`, by a hard link where `link` allows and the file systems can, else by a copy.

    Returns the SHA-256 where it was read on the way (a copy), else None. Links in `source` are followed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            target.hardlink_to(source.resolve())
            return None
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
