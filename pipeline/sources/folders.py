"""The videos in a directory: walks it, and tells videos by their content."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.sources.content import not_a_video
from pipeline.sources.layouts import File, image_folders, recognise, visible
from pipeline.sources.left_out import BROKEN_LINK, HIDDEN, NOT_VIDEO, SEEN_FOLDER, UNREADABLE, LeftOut, Reason
from pipeline.sources.naming import is_hidden, is_image
from pipeline.sources.paths import existing_folder
from pipeline.sources.source import Found

__all__ = ["folder_clips", "reason_against", "walk"]

_READERS = 8  # threads that read first bytes: on a network file system each read takes a round trip


def walk(root: Path, left_out: LeftOut) -> tuple[list[File], list[str]]:
    """Lists all regular files under `root` with their sizes, and all folders, as posix paths.

    Links to folders are followed after all real folders, and no folder is read twice, so a file is listed under its real path.
    Hidden entries, broken links and unreadable entries are added to `left_out`.
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
            # A folder above the root contains the root, so walking it would not end.
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
            else:  # a pipe, a socket, a device: opening it may block
                left_out.add(NOT_VIDEO, path)
    return files, sorted(folders)


def _entries(root: Path, here: str, left_out: LeftOut) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(root / here) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError:
        left_out.add(UNREADABLE, here or str(root))


def reason_against(path: Path) -> Reason | None:
    """Why the file is not used as a video, which may be that it is unreadable; None for a video."""
    try:
        return not_a_video(path)
    except OSError:
        return UNREADABLE


def folder_clips(folder: str) -> Found:
    """The videos, or folders of images, under a directory, with class, group and split as `layouts.recognise` reads their paths.

    Contents decide what is a video (see `pipeline.sources.content`). Raises UserError if `folder` is not a directory.
    """
    root = existing_folder(folder)
    left_out = LeftOut()
    files, folders = walk(root, left_out)
    tables = [file.path for file in files if file.path.lower().endswith((".csv", ".tsv"))]
    advice = f"set data.listing={root / tables[0]} if that lists them" if len(tables) == 1 else ""
    return recognise(_select(root, files, left_out), left_out, f"data.folder = {folder}", folders, advice)


def _select(root: Path, files: list[File], left_out: LeftOut) -> list[File]:
    """Selects the videos and the folders of images among the files under `root`; adds the rest to `left_out`."""
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
