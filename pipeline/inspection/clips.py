"""The clips of a source, also of one without a recognisable layout, and the files that are not used.

Where the layout is recognised, the clips are those of `Source.list_clips`, as download and the doctor find them. Where it is not,
every video is listed; its label is the first folder that is not named after a split, as a proposal, or empty if there is none.
"""

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pipeline.check_results import CheckResult
from pipeline.console import UserError
from pipeline.inspection.content import Unused
from pipeline.settings import Data
from pipeline.sources.archives import Archive
from pipeline.sources.folders import reason_against, walk
from pipeline.sources.layouts import File, image_folders, split_named, visible
from pipeline.sources.left_out import (
    BROKEN_LINK,
    EMPTY,
    GONE,
    NOT_VIDEO,
    NOT_WHAT_IT_SAYS,
    OUTSIDE,
    UNREADABLE,
    LeftOut,
    Reason,
    few,
)
from pipeline.sources.naming import is_image, is_video, safe_parts, ucf_group, ucf_name
from pipeline.sources.paths import existing_folder
from pipeline.sources.source import Clip, Found, Source

__all__ = ["UNSAFE", "Inventory", "list_any"]

_PROBLEMS = (EMPTY, NOT_WHAT_IT_SAYS, UNREADABLE, BROKEN_LINK, OUTSIDE, GONE)
UNSAFE = Reason("file whose name cannot be used", "files whose names cannot be used")
_INDEX_TIMEOUT = 30.0  # seconds; of a local archive, whose index is read at once


@dataclass(frozen=True)
class Inventory:
    """The clips of a source.

    Attributes:
      layout: how the source was understood, one line. error: why no layout was recognised; None if one was.
      splits: whether every clip states its split. empty: classes without a video. notes, warnings: further lines.
    """

    clips: list[Clip]
    layout: str
    unused: list[Unused]
    error: UserError | None = None
    splits: bool = False
    empty: Sequence[str] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[CheckResult] = ()

    @property
    def recognised(self) -> bool:
        return self.error is None


def list_any(source: Source, data: Data) -> Inventory:
    """Lists the clips of `source`, which `data` names. Raises UserError if it holds no videos, or for a bad listing."""
    try:
        found = source.list_clips()
    except UserError as error:
        if data.listing is not None:
            raise
        left_out = LeftOut()
        clips = [
            _clip(path)
            for path in _named_safely(
                _archived(data.archive, left_out, error) if data.archive else _in_folder(data.folder, left_out), left_out
            )
        ]
        _refuse_none(source, clips, left_out)
        clips = _with_labels(clips)
        labels = {clip.category for clip in clips} - {""}
        layout = "no layout is recognised"
        splits = all(clip.split is not None for clip in clips)
        return Inventory(clips, layout, _unused(left_out), error, splits and bool(labels))
    _refuse_none(source, found.clips, found.left_out)
    notes = found.notes if data.listing is None else [*found.notes, *_not_listed(data.folder, found)]
    return Inventory(
        found.clips, found.layout, _unused(found.left_out), None, bool(found.splits), found.empty, notes, found.warnings
    )


def _not_listed(folder: str, found: Found) -> list[str]:
    """A note of the videos, by suffix, that the listing does not name."""
    known = {clip.source for clip in found.clips}.union(*found.left_out.names.values())
    others = [file.path for file in walk(existing_folder(folder), LeftOut())[0] if is_video(file.path) and file.path not in known]
    what = "video in the folder is" if len(others) == 1 else "videos in the folder are"
    return [f"{len(others)} {what} not in the listing ({few(sorted(others))})"] if others else []


def _refuse_none(source: Source, clips: Sequence[Clip], left_out: LeftOut) -> None:
    if not clips:
        out = f" ({left_out.line()})" if left_out.count else ""
        raise UserError(f"{source.name}: no videos{out}", advice="give a folder or a zip of videos")


def _unused(left_out: LeftOut) -> list[Unused]:
    rows = [
        Unused(path=name, reason=reason.one, problem=reason in _PROBLEMS or reason is UNSAFE)
        for reason, names in left_out.names.items()
        for name in names
    ]
    return sorted(rows, key=lambda row: (not row.problem, row.reason, row.path))


def _in_folder(folder: str, left_out: LeftOut) -> list[File]:
    root = existing_folder(folder)
    files, _ = walk(root, left_out)
    files = visible(files, left_out)
    videos = []
    for file in files:
        if is_image(file.path):
            continue
        reason = reason_against(root / file.path)
        if reason is None:
            videos.append(file)
        else:
            left_out.add(reason, file.path)
    return videos + image_folders(videos, [file for file in files if is_image(file.path)], left_out)


def _archived(location: str, left_out: LeftOut, error: UserError) -> list[File]:
    """The videos of an archive by their suffixes. Raises `error` if the archive has links, which are refused."""
    with Archive(location, 0, _INDEX_TIMEOUT) as archive:
        infos = list(archive.members.values())
    if any(stat.S_ISLNK(info.external_attr >> 16) for info in infos):
        raise error
    files = visible([File(info.filename, info.file_size) for info in infos if not info.is_dir()], left_out)
    videos = [file for file in files if is_video(file.path)]
    images = [file for file in files if is_image(file.path)]
    for file in files:
        if not is_video(file.path) and not is_image(file.path):
            left_out.add(NOT_VIDEO, file.path)
    return videos + image_folders(videos, images, left_out)


def _named_safely(files: Sequence[File], left_out: LeftOut) -> list[File]:
    kept = []
    for file in files:
        try:
            safe_parts(file.path, "")
        except UserError:
            left_out.add(UNSAFE, file.path)
        else:
            kept.append(file)
    return kept


def _clip(file: File) -> Clip:
    group, number = ucf_group(file.path)
    return Clip(file.path, "", group, number, file.size, images=file.images)


def _with_labels(clips: Sequence[Clip]) -> list[Clip]:
    """The clips with the labels, and splits, that their folders propose."""
    folders = [PurePosixPath(clip.source).parts[:-1] for clip in clips]
    depth = 0  # of the folders that hold everything
    while all(len(parts) > depth + 1 for parts in folders) and len({parts[depth] for parts in folders}) == 1:
        depth += 1
    labelled = []
    for clip, parts in zip(clips, folders, strict=True):
        own = parts[depth:]
        named = [part for part in own if split_named(part) is None]
        splits = [split for part in own if (split := split_named(part)) is not None]
        ucf = ucf_name(clip.source)
        label = named[0] if named else ucf[0] if ucf else ""
        labelled.append(replace(clip, category=label, split=splits[0] if splits else None))
    return labelled
