"""A folder as a source: all its videos, or those that listings name. The user's files are never changed."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path

from pipeline.console import UserError
from pipeline.files import sha256
from pipeline.settings import Data, Speed
from pipeline.sources.folders import folder_clips
from pipeline.sources.listed import listed_clips, listings_in
from pipeline.sources.paths import existing_folder
from pipeline.sources.source import Clip, Found, Source, Stored, clip_digest, distinct_files
from pipeline.sources.threads import in_threads

__all__ = ["FolderSource"]

_END = 1 << 16  # bytes


class FolderSource(Source):
    """`data.folder`, with the listings in `data.listing` or, if there are none, train.csv and test.csv next to such folders."""

    def __init__(self, data: Data, speed: Speed):
        self.name = data.folder
        self.watch = self._root = existing_folder(data.folder)
        self._listings = [data.listing] if isinstance(data.listing, str) else data.listing
        self._background = data.background
        self._threads = speed.download_connections
        self._hashes: dict[str, str] = {}

    def list_clips(self) -> Found:
        return self._found

    @cached_property
    def _found(self) -> Found:
        """Listed once, though download plans again when it finds near-duplicates: this reads the beginning of every file."""
        listings = self._listings or listings_in(self.name)
        if listings:
            return listed_clips(self.name, listings, self._background)
        if self._background is not None:
            advice = "set data.listing to a CSV of path,label,start,end (docs/segments.md), or data.background=null"
            raise UserError("data.background needs a listing of segments, and there is no listing", advice=advice)
        return folder_clips(self.name)

    def fingerprints(self, clips: Sequence[Clip]) -> dict[str, Hashable]:
        """The SHA-256 of a clip if its first and last 64 KiB equal another clip's, else the SHA-256 of these ends alone."""
        clips = distinct_files(clips)
        ends = in_threads(lambda clip: self._digest(clip, _ends), clips, self._threads)
        counts = Counter(ends.values())
        same = [clip for clip in clips if counts[ends[clip]] > 1]
        whole = in_threads(lambda clip: self._digest(clip, sha256), same, self._threads)
        self._hashes |= {clip.source: digest for clip, digest in whole.items()}
        return {clip.source: whole.get(clip, ends[clip]) for clip in clips}

    def _digest(self, clip: Clip, digest: Callable[[Path], str]) -> str:
        try:
            return clip_digest(clip, lambda path: digest(self._root / path))
        except OSError as error:
            message = f"data.folder = {self.name}: {clip.source}: {error.strerror}"
            raise UserError(message, advice="repair or remove it") from error

    def fetch(self, clips: Sequence[Clip]) -> Stored:
        return Stored(self._root, links_may_be_shared(), dict(self._hashes))

    def sample(self, clips: Sequence[Clip], folder: Path) -> list[Path]:
        return [self._root / clip.files[0] for clip in clips]


def _ends(path: Path) -> str:
    """The SHA-256 of the first and the last 64 KiB of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(_END, path.stat().st_size - _END))
        digest.update(file.read())
    return digest.hexdigest()


def links_may_be_shared() -> bool:
    """Whether data/clips may hold hard links to the user's files.

    False if DVC itself makes hard links (`cache.type`): it makes linked files read-only, which would change the user's own.
    """
    from dvc.config import Config  # takes half a second, which only folders need

    kinds = Config.from_cwd(validate=False).get("cache", {}).get("type") or []
    return "hardlink" not in (kinds.split(",") if isinstance(kinds, str) else kinds)
