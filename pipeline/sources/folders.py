"""A user's own videos: a directory that is walked, and the files in it placed elsewhere. Nothing of theirs is ever changed."""

import difflib
import errno
import hashlib
import os
import shutil
import stat
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.console import UserError
from pipeline.sources.content import not_a_video
from pipeline.sources.layouts import File, image_folders, recognise, visible
from pipeline.sources.left_out import BROKEN_LINK, HIDDEN, NOT_VIDEO, SEEN_FOLDER, UNREADABLE, LeftOut, Reason
from pipeline.sources.naming import Found, folded, is_hidden, is_image

__all__ = ["existing_folder", "folder_clips", "links_may_be_shared", "nearest", "place", "walk"]

# A hard link is refused across devices, by some file systems, and for files of others (fs.protected_hardlinks): then a copy
# serves.
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_READERS = 8  # threads that read first bytes: on a network's file system each takes a round trip


def nearest(path: Path) -> Path | None:
    """An existing path that `path` was probably meant to be: other Unicode normalisation or case, quotes left on, a slip."""
    bare = str(path).strip().strip("'\"")
    if bare != str(path) and Path(bare).exists():
        return Path(bare)
    parts = path.absolute().parts
    found = Path(parts[0])
    for part in parts[1:]:
        if (found / part).exists():
            found /= part
            continue
        try:
            siblings = sorted(entry.name for entry in found.iterdir())
        except OSError:
            return None
        same = [name for name in siblings if folded(name) == folded(part.strip().strip("'\""))]
        close = same or difflib.get_close_matches(part, siblings, n=1, cutoff=0.8)
        if not close:
            return None
        found /= close[0]
    return found


def missing_advice(path: Path, otherwise: str) -> str:
    """What to do about a path that is not there: which one near it is, and how it differs."""
    near = nearest(path)
    if near is None:
        return otherwise
    same = unicodedata.normalize("NFC", str(near)) == unicodedata.normalize("NFC", str(path.absolute()))
    how = " (the same letters, composed otherwise: copy the name from `ls`)" if same else ""
    return f"did you mean {near}{how}?"


def existing_folder(folder: str) -> Path:
    """The directory `data.folder`, with ~ expanded; raises UserError where it is none, with a near one that is."""
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


def walk(root: Path, left_out: LeftOut) -> tuple[list[File], list[str]]:
    """All regular files under `root` with their sizes, and all folders, as posix paths.

    Links to folders are followed after all real folders, and none twice, so that a file is met under its real name. Hidden
    entries, broken links and what cannot be read go to `left_out`.
    """
    files: list[File] = []
    folders: list[str] = []
    real_root = os.path.realpath(root)
    seen, waiting, links = {real_root}, [""], []
    while waiting or links:
        if waiting:
            here = waiting.pop()
        else:
            here = links.pop(0)
            real = os.path.realpath(root / here)
            # A folder above the root holds the root, and so has no end.
            if real in seen or real_root.startswith(real.rstrip("/") + "/"):
                left_out.add(SEEN_FOLDER, here)
                continue
            seen.add(real)
        if here:
            folders.append(here)
        for entry in _entries(root, here, left_out):
            path = f"{here}/{entry.name}" if here else entry.name
            if is_hidden([entry.name]):
                left_out.add(HIDDEN, path)
                continue
            try:
                status = entry.stat()
            except OSError:
                left_out.add(BROKEN_LINK if entry.is_symlink() else UNREADABLE, path)
                continue
            if stat.S_ISDIR(status.st_mode):
                if entry.is_symlink():
                    links.append(path)
                else:
                    seen.add(os.path.realpath(entry.path))
                    waiting.append(path)
            elif stat.S_ISREG(status.st_mode):
                files.append(File(path, status.st_size))
            else:  # a pipe, a socket, a device: opening it may wait for ever
                left_out.add(NOT_VIDEO, path)
    return files, sorted(folders)


def _entries(root: Path, here: str, left_out: LeftOut) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(root / here) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError:
        left_out.add(UNREADABLE, here or str(root))


def reason_against(path: Path) -> Reason | None:
    """Why the file is not taken for a video, None where it is one; where it cannot be read, that is why."""
    try:
        return not_a_video(path)
    except OSError:
        return UNREADABLE


def folder_clips(folder: str) -> Found:
    """The videos, or folders of images, under a directory, as `layouts.recognise` understands their paths.

    Contents decide what is a video (see `pipeline.sources.content`). Raises UserError where `folder` is no directory.
    """
    root = existing_folder(folder)
    left_out = LeftOut()
    files, folders = walk(root, left_out)
    tables = [file.path for file in files if file.path.lower().endswith((".csv", ".tsv"))]
    advice = f"set data.listing={root / tables[0]} if that lists them" if len(tables) == 1 else ""
    return recognise(sorted_out(root, files, left_out), left_out, f"data.folder = {folder}", folders, advice)


def sorted_out(root: Path, files: list[File], left_out: LeftOut) -> list[File]:
    """The videos and the folders of images among the files under `root`; the rest goes to `left_out`."""
    files = visible(files, left_out)
    images = [file for file in files if is_image(file.path)]
    others = [file for file in files if not is_image(file.path)]
    with ThreadPoolExecutor(_READERS) as pool:
        reasons = list(pool.map(lambda file: reason_against(root / file.path), others))
    videos = []
    for file, reason in zip(others, reasons, strict=True):
        if reason is None:
            videos.append(file)
        else:
            left_out.add(reason, file.path)
    return videos + image_folders(videos, images, left_out)


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
