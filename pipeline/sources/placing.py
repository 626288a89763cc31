"""Puts the clips of a source into the folder that the download stage writes."""

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import UserError, progress
from pipeline.files import sha256
from pipeline.sources.source import Clip, Stored, clip_digest, distinct_files
from pipeline.sources.threads import in_threads

__all__ = ["place_clips"]

# Errors after which a copy is made: hard links do not cross devices, some file systems have none, and the system may refuse
# links to other users' files (fs.protected_hardlinks).
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def place_clips(clips: Sequence[Clip], stored: Stored, target: Path, threads: int) -> dict[str, str]:
    """Puts every clip at `target / Clip.file`, a folder of images as a folder; returns the SHA-256 by `Clip.source`.

    A recording is placed and hashed once, however many clips are segments of it.

    Raises UserError naming a file that cannot be read.
    """
    clips = distinct_files(clips)
    with progress(total=len(clips), describe="placing", unit="file") as bar:

        def put(clip: Clip) -> str:
            placed = {file: target / clip.file / file[len(clip.source) :].lstrip("/") for file in clip.files}
            for file, path in placed.items():
                place_file(stored.folder / file, path, stored.link)
            bar.update()
            known = stored.sha256
            return known.get(clip.source) or clip_digest(clip, lambda file: known.get(file) or sha256(placed[file]))

        return {clip.source: digest for clip, digest in in_threads(put, clips, threads).items()}


def place_file(source: Path, target: Path, link: bool) -> None:
    """Makes `target` a hard link to `source` if `link` and the file systems allow it, else a copy; follows links in `source`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if link:
            try:
                target.hardlink_to(source.resolve())
                return
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
        shutil.copyfile(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the caller's file operations name the full disk
        raise UserError(f"{source}: {error.strerror}", advice="repair or remove it") from error
