"""The clips that listings name: paths as people write them found in the folder, labels, groups and splits checked."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.console import UserError
from pipeline.sources.folders import existing_folder, reason_against, walk
from pipeline.sources.layouts import File, split_named
from pipeline.sources.left_out import EMPTY, GONE, UNREADABLE, LeftOut, few
from pipeline.sources.listings import Listing, Row, read_listing
from pipeline.sources.manifest import SPLITS
from pipeline.sources.naming import Clip, Found, folded, is_hidden, is_image, safe_parts, ucf_group

__all__ = ["listed_clips", "listings_in"]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class _Folder:
    """Finds in a folder what a listing means by a path. by_name: how many were not where the listing says."""

    def __init__(self, root: Path):
        self.root = root
        self.by_name = 0

    def find(self, written: str, near: Sequence[str], where: str) -> str | None:
        """The path below the root, posix; None where nothing there can be meant.

        near: folders below the root to look in too. Backslashes separate folders as slashes do; an absolute path must lie below
        the root. What is not there is looked for by its name, with or without suffix: it must be the only one.
        Raises UserError for a path that is unsafe, lies elsewhere, or may mean several files.
        """
        path = self._relative(written, where)
        for base in ("", *near):
            candidate = f"{base}/{path}" if base else path
            if self._exists(candidate):
                return candidate
        return self.named(path, where)

    def named(self, path: str, where: str) -> str | None:
        """The only file or folder of that path, or of that name if it is a bare one, with or without suffix, anywhere below the
        root; None if there is none.
        """
        keys = (_composed(path), folded(path))  # as written first: case may tell files apart
        found = next((self._index[key] for key in keys if key in self._index), [])
        if len(found) > 1:
            raise UserError(f"{where}: {path} may be any of {few(sorted(found))}", advice="list paths relative to data.folder")
        self.by_name += len(found)
        return found[0] if found else None

    def _exists(self, path: str) -> bool:
        try:
            (self.root / path).lstat()
        except OSError:
            return False
        return True

    def _relative(self, written: str, where: str) -> str:
        if re.match(r"[A-Za-z]:|\\\\", written):
            roots = [PureWindowsPath(str(self.root))]
            path = PureWindowsPath(written)
            if not any(path.is_relative_to(root) for root in roots):
                parts = path.parts[1:]
                tails = ["/".join(parts[start:]) for start in range(len(parts))]
                here = next((tail for tail in tails if self._exists(tail)), None)
                raise UserError(
                    f"{where}: {written} is a Windows path with a drive, which is not below data.folder here",
                    advice=f"list it relative to data.folder{f': {here}' if here else ''}",
                )
            return path.relative_to(roots[0]).as_posix()
        written = written.replace("\\", "/")
        if written.startswith("/"):
            for root in (self.root.absolute(), self.root.resolve()):
                if PurePosixPath(written).is_relative_to(root.as_posix()):
                    written = PurePosixPath(written).relative_to(root.as_posix()).as_posix()
                    break
            else:
                raise UserError(
                    f"{where}: {written} is not below data.folder = {self.root}",
                    advice="set data.folder to a folder that holds all videos, or list paths relative to it",
                )
        return "/".join(safe_parts(written, where))

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """Paths by path and by name, with and without suffix; each as it is and without case."""
        index: dict[str, list[str]] = defaultdict(list)
        files, folders = walk(self.root, LeftOut())
        for path in [*folders, *(file.path for file in files)]:
            pure = PurePosixPath(path)
            names = (path, str(pure.with_suffix("")), pure.name, pure.stem)
            for key in {same(text) for same in (_composed, folded) for text in names}:
                index[key].append(path)
        return index


def listings_in(folder: str) -> list[str]:
    """`train.csv` and `test.csv` (and one for validation) in the folder, next to folders of these names, as Keras's examples have
    them; empty where they are not both there.
    """
    root = Path(folder).expanduser()
    found = {}
    for path in sorted(root.glob("*.csv")) if root.is_dir() else []:
        split = split_named(path.stem)
        if split and (root / path.stem).is_dir():
            found[split] = str(path)
    return [found[split] for split in SPLITS if split in found] if {"train", "test"} <= found.keys() else []


def listed_clips(folder: str, listings: Sequence[str]) -> Found:
    """The videos, or folders of images, that listings name, found in `folder` as `_Folder.find` says.

    Without a column for it, the split is that of the listing's name where there are several (train.csv, test.csv). Without a
    group, a UCF-101 name gives it, else each file is a group of its own. Of Kinetics' listings, whose videos vanish, what is here
    is taken. Raises UserError naming file and row for a path that is unsafe, absent, no video or named twice, a bad label, an
    unknown split.
    """
    root = existing_folder(folder)
    places = _Folder(root)
    left_out = LeftOut()
    clips, understood, notes = [], [], []
    listed_before: dict[str, tuple[str, int]] = {}
    for name in listings:
        near = _near(root, name)

        def is_here(path: str, name=name, near=near) -> bool:
            before = places.by_name
            try:
                return bool(path) and places.find(path, near, name) is not None
            except UserError:
                return False
            finally:
                places.by_name = before

        listing = read_listing(name, is_here)
        understood.append(f"{name if len(listings) == 1 else Path(name).name}: {listing.understood}")
        split = _split_of(name) if len(listings) > 1 else None
        clips += _clips(listing, places, near, split, listed_before, left_out)
    given = {clip.split is not None for clip in clips}
    if len(given) > 1:
        raise UserError(
            f"data.listing: some of {few(listings)} give splits and others do not", advice="name them all train, validation, test"
        )
    if places.by_name:
        notes.append(f"{places.by_name} listed videos were found by name elsewhere in the folder")
    numbers = {clip.category for clip in clips}
    if numbers and all(number.isdecimal() for number in numbers):
        notes.append(f"the labels are numbers ({few(sorted(numbers, key=int))}); data.class_names can name a file of their names")
    splits = f"the listings {few(Path(name).name for name in listings)}" if len(listings) > 1 else str(listings[0])
    line = "listing " + "; ".join(understood)
    return Found(clips, layout=line, left_out=left_out, splits=splits if given == {True} else "", notes=notes)


def _near(root: Path, name: str) -> list[str]:
    """Folders below `root` where a listing's files may lie: one named as the listing, and the one that it lies in."""
    path = Path(name).expanduser()
    beside = path.parent.resolve()
    within = [beside.relative_to(root.resolve()).as_posix()] if beside.is_relative_to(root.resolve()) else []
    return [
        path.stem,
        *(place for place in within if place != "."),
        *(f"{place}/{path.stem}" for place in within if place != "."),
    ]


def _split_of(name: str) -> str | None:
    """The split that a listing's name tells: train.csv, my_val.txt, testlist01.txt."""
    words = [word.removesuffix("list") for word in re.findall("[a-z]+", Path(name).stem.lower())]
    splits = {split for word in words if (split := split_named(word))}
    return splits.pop() if len(splits) == 1 else None


def _clips(
    listing: Listing, places: _Folder, near: list[str], split: str | None, before: dict[str, tuple[str, int]], left_out: LeftOut
) -> list[Clip]:
    """The clips of one listing. split: of all, where no column says it. before: listing and line of each path so far."""
    has_splits = any(row.split for row in listing.rows)
    clips, gone = [], []
    for row in listing.rows:
        where = f"{listing.name}, row {row.line}"
        if not row.path:
            raise UserError(f"{where}: no path", advice="complete the row")
        path = places.find(row.path, near, where) if row.seconds is None else _of_youtube(row, places, where)
        if path is None:
            gone.append(row)
            continue
        if path in before:
            name, line = before[path]
            there = f"row {line}" if name == listing.name else f"{name}, row {line}"
            raise UserError(f"{where}: {path} is listed already in {there}", advice="keep one")
        before[path] = (listing.name, row.line)
        file = _file(places.root, path, where, left_out)
        if file is None:
            continue
        label = _label(row, path, where)
        group, number = ucf_group(path)
        given = _split(row, where) if has_splits else split
        group = row.group or (row.path if row.seconds else group)
        clips.append(Clip(path, label, group, number, file.size, split=given, images=file.images))
    if gone and listing.rows[0].seconds is None:
        some = few(f"row {row.line}: {row.path}" for row in gone)
        raise UserError(
            f"data.listing = {listing.name}: {len(gone)} of {len(listing.rows)} files are not found in {places.root} ({some})",
            advice="list paths relative to data.folder, and take out what is gone",
        )
    for row in gone:
        left_out.add(GONE, row.path)
    return clips


def _of_youtube(row: Row, places: _Folder, where: str) -> str | None:
    """Kinetics' names: `<id>_<start>_<end>`, in six digits, or the id alone, in any folder and with any suffix."""
    start, end = row.seconds
    before = places.by_name
    path = places.named(f"{row.path}_{start:06d}_{end:06d}", where) or places.named(row.path, where)
    places.by_name = before  # that is where they are expected
    return path


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
        raise UserError(f"{where}: {path} is not a video ({reason.one})", advice="take the row out")
    return File(path, size)


def _label(row: Row, path: str, where: str) -> str:
    label = PurePosixPath(path).parent.name if row.label is None else row.label
    if not label or "/" in label or is_hidden([label]) or len(safe_parts(label, where)) != 1:
        raise UserError(
            f"{where}: label {label!r} cannot be a class", advice="give a name without slashes that does not start with a dot"
        )
    return label


def _split(row: Row, where: str) -> str:
    split = split_named(row.split)
    if split is None:
        raise UserError(f"{where}: unknown split {row.split!r}", advice=f"it must be one of {', '.join(SPLITS)}")
    return split
