"""The clips that listings name: finds their files in the folder, and checks labels, groups and splits."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.console import UserError
from pipeline.settings import Background
from pipeline.sources.folders import reason_against, walk
from pipeline.sources.layouts import File, split_named
from pipeline.sources.left_out import EMPTY, GONE, UNREADABLE, LeftOut, few
from pipeline.sources.listings import Listing, Row, read_listing
from pipeline.sources.manifest import SPLITS
from pipeline.sources.naming import folded, is_hidden, is_image, safe_parts, ucf_group
from pipeline.sources.paths import existing_folder
from pipeline.sources.segments import Listed, background_clips, bad_rows, check_segments, parse_segment
from pipeline.sources.source import Clip, Found
from pipeline.video.segment import Segment

__all__ = ["listed_clips", "listings_in"]


def listings_in(folder: str) -> list[str]:
    """`train.csv` and `test.csv` in the folder, and one for validation, next to folders of these names, as in Keras's examples.

    Empty if train and test are not both there.
    """
    root = Path(folder).expanduser()
    found = {}
    for path in sorted(root.glob("*.csv")) if root.is_dir() else []:
        split = split_named(path.stem)
        if split and (root / path.stem).is_dir():
            found[split] = str(path)
    return [found[split] for split in SPLITS if split in found] if {"train", "test"} <= found.keys() else []


def listed_clips(folder: str, listings: Sequence[str], background: Background | None = None) -> Found:
    """The videos, segments of videos, or folders of images, that listings name, found in `folder` as `_Finder` describes.

    Without a column for it, the split is that of the listing's name if there are several (train.csv, test.csv). Without a group,
    a UCF-101 name gives it, else each file is its own group, so segments of one recording share it. Of Kinetics' listings, whose
    videos disappear from YouTube, those that are here are used. background: clips of unlabelled time that are added.
    Raises UserError naming file and row for a path that is unsafe, absent, not a video or repeated, a bad label, an unknown
    split, or times that are no segment of the file.
    """
    collected = _Collected(existing_folder(folder))
    understood = []
    for name in listings:
        near = _near(collected.root, name)
        listing = read_listing(name, lambda path, near=near: collected.finder.is_here(path, near))
        understood.append(f"{name if len(listings) == 1 else Path(name).name}: {listing.understood}")
        collected.add(listing, near, _split_of(name) if len(listings) > 1 else None)
    clips = [one.clip for one in collected.listed]
    given = {clip.split is not None for clip in clips}
    if len(given) > 1:
        message = f"data.listing: some of {few(listings)} give splits and others do not"
        raise UserError(message, advice="name them all train, validation, test")
    notes = []
    if collected.by_name:
        what = "listed video was" if collected.by_name == 1 else "listed videos were"
        notes.append(f"{collected.by_name} {what} found by name elsewhere in the folder")
    labels = {clip.category for clip in clips}
    if labels and all(label.isdecimal() for label in labels):
        notes.append(f"the labels are numbers ({few(sorted(labels, key=int))}); data.class_names can name a file of their names")
    recordings = check_segments(collected.root, collected.listed)
    notes += recordings.notes
    if background is not None:
        _class_name(background.label, "data.background")
        made, lines = background_clips(collected.listed, recordings, background)
        clips, notes = clips + made, notes + lines
    splits = f"the listings {few(Path(name).name for name in listings)}" if len(listings) > 1 else str(listings[0])
    return Found(
        clips,
        layout="listing " + "; ".join(understood),
        left_out=collected.left_out,
        splits=splits if given == {True} else "",
        notes=notes,
        warnings=recordings.warnings,
    )


def _near(root: Path, name: str) -> list[str]:
    """Folders below `root` in which a listing's files may lie: one named like the listing, and the one that it lies in."""
    path = Path(name).expanduser()
    parent, root = path.parent.resolve(), root.resolve()
    if parent == root or not parent.is_relative_to(root):
        return [path.stem]
    within = parent.relative_to(root).as_posix()
    return [path.stem, within, f"{within}/{path.stem}"]


def _split_of(name: str) -> str | None:
    """The split in a listing's name: train.csv, my_val.txt, testlist01.txt."""
    words = [word.removesuffix("list") for word in re.findall("[a-z]+", Path(name).stem.lower())]
    splits = {split for word in words if (split := split_named(word))}
    return splits.pop() if len(splits) == 1 else None


class _Finder:
    """Finds the files below `root` that a listing means."""

    def __init__(self, root: Path):
        self.root = root

    def is_here(self, written: str, near: Sequence[str]) -> bool:
        """Whether there is a file for this path."""
        try:
            return bool(written) and (self.at(written, near, "") or self.named(written, "")) is not None
        except UserError:
            return False

    def at(self, written: str, near: Sequence[str], where: str) -> str | None:
        """The posix path below the root if there is a file at `written`, relative to the root or to one of the folders `near`.

        Backslashes separate folders as slashes do; an absolute path must lie below the root. Raises UserError for a path that is
        unsafe or lies elsewhere.
        """
        path = self._relative(written, where)
        return next((candidate for base in ("", *near) if self._exists(candidate := f"{base}/{path}".lstrip("/"))), None)

    def named(self, written: str, where: str) -> str | None:
        """The only file or folder anywhere below the root with this path or name, with or without suffix; None if there is none.

        Raises UserError if there are several.
        """
        path = self._relative(written, where)
        keys = (_composed(path), folded(path))  # as written first, because case may distinguish files
        found = next((self._index[key] for key in keys if key in self._index), [])
        if len(found) > 1:
            raise UserError(f"{where}: {path} may be any of {few(sorted(found))}", advice="list paths relative to data.folder")
        return found[0] if found else None

    def _exists(self, path: str) -> bool:
        try:
            (self.root / path).lstat()
        except OSError:
            return False
        return True

    def _relative(self, written: str, where: str) -> str:
        if re.match(r"[A-Za-z]:|\\\\", written):
            parts = written.replace("\\", "/").split("/")
            here = next((tail for start in range(len(parts)) if self._exists(tail := "/".join(parts[start:]))), None)
            message = f"{where}: {written} is a Windows path with a drive, which is not below data.folder here"
            raise UserError(message, advice=f"list it relative to data.folder{f': {here}' if here else ''}")
        path = PurePosixPath(written.replace("\\", "/"))
        if path.is_absolute():
            roots = [str(root) for root in (self.root.absolute(), self.root.resolve()) if path.is_relative_to(str(root))]
            if not roots:
                message = f"{where}: {written} is not below data.folder = {self.root}"
                raise UserError(message, advice="set data.folder to a folder that holds all videos, or list paths relative to it")
            path = path.relative_to(roots[0])
        return "/".join(safe_parts(str(path), where))

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """The paths below the root by path and by name, with and without suffix; each exactly and without case."""
        index: dict[str, list[str]] = defaultdict(list)
        files, folders = walk(self.root, LeftOut())
        for path in [*folders, *(file.path for file in files)]:
            pure = PurePosixPath(path)
            names = (path, str(pure.with_suffix("")), pure.name, pure.stem)
            for key in {same(text) for same in (_composed, folded) for text in names}:
                index[key].append(path)
        return index


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class _Collected:
    """The clips of the listings so far. by_name: number of rows whose files were not where the listing states."""

    def __init__(self, root: Path):
        self.root = root
        self.finder = _Finder(root)
        self.listed: list[Listed] = []
        self.left_out = LeftOut()
        self.by_name = 0
        self._files: dict[str, File | None] = {}  # by path
        self._rows: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)  # listing and line, by path and segment

    def add(self, listing: Listing, near: list[str], split: str | None) -> None:
        """Adds the clips of a listing. near: folders in which its files may lie. split: of all clips if no column states it."""
        has_splits = any(row.split for row in listing.rows)
        absent, problems = [], []
        for row in listing.rows:
            where = f"{listing.name}, row {row.line}"
            path = self._find(row, near, where)
            if path is None:
                absent.append(row)
                continue
            try:
                segment = parse_segment(row.start, row.end)
            except ValueError as error:
                problems.append((row.line, str(error)))
                continue
            self._refuse_repeated(path, segment, listing, row, where)
            if path not in self._files:
                self._files[path] = _file(self.root, path, where, self.left_out)
            file = self._files[path]
            if file is None:
                continue
            if segment is not None and file.images:
                raise UserError(f"{where}: {path} is a folder of images, which has no segments", advice="list parts as folders")
            group, number = ucf_group(path)
            group = row.group or (row.path if row.seconds else group)
            given = _split(row, where) if has_splits else split
            label = _label(row, path, where)
            clip = Clip(path, label, group, number, file.size, split=given, images=file.images, segment=segment)
            self.listed.append(Listed(clip, listing.name, row.line))
        if absent and listing.rows[0].seconds is None:
            some = few(f"row {row.line}: {row.path}" for row in absent)
            what = f"{len(absent)} of {len(listing.rows)} files are not found in {self.root} ({some})"
            advice = "list paths relative to data.folder, and remove the rows of files that no longer exist"
            raise UserError(f"data.listing = {listing.name}: {what}", advice=advice)
        for row in absent:
            self.left_out.add(GONE, row.path)
        if problems:
            raise bad_rows(listing.name, problems, len(listing.rows))

    def _find(self, row: Row, near: list[str], where: str) -> str | None:
        if not row.path:
            raise UserError(f"{where}: no path", advice="complete the row")
        if row.seconds is not None:
            # Kinetics' tools name a video `<id>_<start>_<end>`, in six digits, or by the id alone, in any folder.
            start, end = row.seconds
            return self.finder.named(f"{row.path}_{start:06d}_{end:06d}", where) or self.finder.named(row.path, where)
        path = self.finder.at(row.path, near, where)
        if path is None:
            path = self.finder.named(row.path, where)
            self.by_name += path is not None
        return path

    def _refuse_repeated(self, path: str, segment: Segment | None, listing: Listing, row: Row, where: str) -> None:
        """Raises UserError for a file that is listed twice, unless as different segments."""
        rows, name = self._rows[path], "" if segment is None else segment.name
        clash = name if name in rows else next(iter(rows), None) if not name else "" if "" in rows else None
        if clash is not None:
            other, line = rows[clash]
            there = f"row {line}" if other == listing.name else f"{other}, row {line}"
            if clash == name:
                what = f"{segment} s of {path}" if segment else path
                advice = "keep one" if segment or row.start or row.end else "keep one; columns start and end make a row a segment"
                raise UserError(f"{where}: {what} is already listed in {there}", advice=advice)
            one, two = ("whole", "a segment of it") if not name else ("in part", "the whole of it")
            advice = "give start and end in all its rows, or list it once"
            raise UserError(f"{where}: {path} is listed {one}, and {two} in {there}", advice=advice)
        rows[name] = (listing.name, row.line)


def _file(root: Path, path: str, where: str, left_out: LeftOut) -> File | None:
    """The listed video or folder of images; None if it is left out. Raises UserError if it is neither."""
    target = root / path
    try:
        if target.is_dir():
            images = sorted(entry for entry in target.iterdir() if is_image(entry.name) and not is_hidden([entry.name]))
            if not images:
                raise UserError(f"{where}: {path} is a folder without images", advice="list videos, or folders of images")
            return File(path, sum(image.stat().st_size for image in images), tuple(image.name for image in images))
        size = target.stat().st_size
    except OSError:
        left_out.add(UNREADABLE, path)
        return None
    if size == 0:
        left_out.add(EMPTY, path)
        return None
    reason = reason_against(target)
    if reason is UNREADABLE:
        left_out.add(reason, path)
        return None
    if reason is not None:
        raise UserError(f"{where}: {path} is not a video ({reason.one})", advice="remove the row")
    return File(path, size)


def _label(row: Row, path: str, where: str) -> str:
    return _class_name(PurePosixPath(path).parent.name if row.label is None else row.label, where)


def _class_name(label: str, where: str) -> str:
    if not label or "/" in label or is_hidden([label]) or len(safe_parts(label, where)) != 1:
        advice = "give a name without slashes that does not start with a dot"
        raise UserError(f"{where}: label {label!r} cannot be a class", advice=advice)
    return label


def _split(row: Row, where: str) -> str:
    split = split_named(row.split)
    if split is None:
        raise UserError(f"{where}: unknown split {row.split!r}", advice=f"it must be one of {', '.join(SPLITS)}")
    return split
