"""Recognises from paths alone which folder is the class, the split or the group.

Folders and archives follow the same rules. Folders that hold everything are ignored; then the first layout that fits is used:
  <split>/<class>/.../<video>   if the top folders are named train, val, test and the like;
  <class>/<split>/.../<video>   if the folders below the classes are;
  <class>/<video>               the folder is the class, whatever the file is called;
  <class>/<scene>/.../<video>   the top folder is the class, the one below it the group;
  v_<Class>_gNN_cNN.<suffix>    UCF-101's names, if there are no class folders at all (also in each split).
A "video" may be a folder of images, one per frame. Without scenes a UCF-101 name gives the group, and any other file is its own
group. Ambiguous layouts raise UserError.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.console import UserError
from pipeline.sources.left_out import EMPTY, FRAMES, HIDDEN, IMAGE, NO_VIDEOS, NOT_VIDEO, OUTSIDE, LeftOut, few
from pipeline.sources.manifest import SPLITS
from pipeline.sources.naming import is_hidden, safe_parts, ucf_group, ucf_name
from pipeline.sources.source import Clip, Found

__all__ = ["File", "image_folders", "recognise", "split_named", "visible"]

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval"), "test"),
}


@dataclass(frozen=True)
class File:
    """A video, or a folder of images, in a source. path: posix. size: bytes. images: names in the folder, sorted."""

    path: str
    size: int
    images: tuple[str, ...] = ()


@dataclass
class _Unit:
    """A file and the part of its path that is not understood yet: `rest`, which ends with the file's name."""

    file: File
    rest: tuple[str, ...]
    split: str | None = None
    category: str = ""
    scenes: tuple[str, ...] = ()


def split_named(name: str) -> str | None:
    """The split that a folder or file of this name holds: train, validation or test; None for another name."""
    return _SPLIT_NAMES.get(name.strip().lower())


def visible(files: Iterable[File], left_out: LeftOut) -> list[File]:
    """The files that are neither hidden nor empty, sorted by path."""
    kept = []
    for file in sorted(files, key=lambda file: file.path):
        if is_hidden(PurePosixPath(file.path).parts):
            left_out.add(HIDDEN, file.path)
        elif file.size == 0:
            left_out.add(EMPTY, file.path)
        else:
            kept.append(file)
    return kept


def image_folders(videos: Sequence[File], images: Sequence[File], left_out: LeftOut) -> list[File]:
    """The folders of images that are clips: they hold at least two images, and no folder of images or videos.

    If there are videos, none is a clip: the images are then thumbnails or copies of the videos' frames.
    """
    folders: dict[str, list[File]] = defaultdict(list)
    for image in images:
        folders[str(PurePosixPath(image.path).parent)].append(image)
    above = {str(parent) for folder in folders for parent in PurePosixPath(folder).parents}
    above |= {str(parent) for video in videos for parent in PurePosixPath(video.path).parents}
    clips = []
    for folder, members in sorted(folders.items()):
        if folder in above or folder == "." or len(members) < 2:
            for image in members:
                left_out.add(NOT_VIDEO if videos else IMAGE, image.path)
        elif videos:
            left_out.add(FRAMES, f"{folder}: {len(members)} images")
        else:
            names = tuple(sorted(PurePosixPath(image.path).name for image in members))
            clips.append(File(folder, sum(image.size for image in members), names))
    return clips


def recognise(files: Sequence[File], left_out: LeftOut, where: str, folders: Iterable[str] = (), advice: str = "") -> Found:
    """The clips of `files`, with the class, group and split of their folders.

    Args:
      left_out: receives the files that are not used.
      where: the source's name in messages.
      folders: paths of all folders; those at the level of the classes without a video are empty classes.
      advice: about videos without class folders.

    Raises UserError for unsafe paths, and if no reading or more than one is possible.
    """
    units = [_Unit(file, safe_parts(file.path, where)) for file in files]
    units, above = _unwrapped(units, left_out)
    units, splits = _split(units, left_out, where)
    units, below = _unwrapped(units, left_out) if splits else (units, [])
    within = [] if splits else _split_below_classes(units, where)
    splits = splits or within
    units, by_name = _classes(units, left_out, where, advice)
    scenes = [] if by_name else _scenes(units)
    clips = [_clip(unit, bool(scenes)) for unit in units]
    pattern = "v_<Class>_gNN_cNN (UCF-101's names)" if by_name else "<class>/<scene>/<clip>" if scenes else "<class>/<clip>"
    if splits:
        pattern = pattern.replace("<class>", "<class>/<split>") if within else f"<split>/{pattern}"
    roots = [(*above, split, *below) for split in splits] if splits and not within else [(*above, *below)]
    return Found(
        clips,
        layout=_line(clips, pattern, scenes, splits, above + below),
        left_out=left_out,
        empty=[] if by_name else _empty_classes(clips, folders, roots, left_out),
        splits=f"the folders {_words(_by_split(splits))}" if splits else "",
    )


def _tops(units: Iterable[_Unit]) -> list[str]:
    """The folders that units lie in, at the first level that is not understood yet."""
    return sorted({unit.rest[0] for unit in units if len(unit.rest) > 1})


def _unwrapped(units: list[_Unit], left_out: LeftOut) -> tuple[list[_Unit], list[str]]:
    """Strips folders that hold everything, while there are class folders or UCF-101's names below."""
    words = []
    while len(tops := _tops(units)) == 1:
        inside = [unit for unit in units if len(unit.rest) > 1]
        deeper = any(len(unit.rest) > 2 for unit in inside)
        named = {ucf[0] for unit in inside if (ucf := ucf_name(unit.rest[-1]))}
        loose = [unit for unit in units if len(unit.rest) == 1]
        if not deeper and (len(named) < 2 or any(ucf_name(unit.rest[0]) for unit in loose)):
            break
        for unit in loose:
            left_out.add(OUTSIDE, unit.file.path)
        words.append(tops[0])
        for unit in inside:
            unit.rest = unit.rest[1:]
        units = inside
        if not deeper:
            break
    return units, words


def _split(units: list[_Unit], left_out: LeftOut, where: str) -> tuple[list[_Unit], list[str]]:
    """Takes the splits from the top folders if they are named after splits; also returns their names, empty if they are not."""
    tops = _tops(units)
    named = [top for top in tops if split_named(top)]
    if len({split_named(top) for top in named}) < 2:
        return units, []
    others = [top for top in tops if top not in named]
    if others:
        raise UserError(
            f"{where}: the folders {_words(named)} are named after splits, but {_words(others)} next to them "
            f"{'is' if len(others) == 1 else 'are'} not, so it is not clear which folders are classes",
            advice="move the others out, rename the folders, or list the videos in a CSV (data.listing)",
        )
    inside = [unit for unit in units if len(unit.rest) > 1]
    for unit in units:
        if len(unit.rest) == 1:
            left_out.add(OUTSIDE, unit.file.path)
    for unit in inside:
        unit.split, unit.rest = split_named(unit.rest[0]), unit.rest[1:]
    return inside, named


def _split_below_classes(units: list[_Unit], where: str) -> list[str]:
    """Takes the splits from the folders right below the classes if they are named after splits; returns their names."""
    names = sorted({unit.rest[1] for unit in units if len(unit.rest) > 2})
    named = [name for name in names if split_named(name)]
    if len(set(map(split_named, named))) < 2:
        return []
    others = [unit.file.path for unit in units if len(unit.rest) == 2 or (len(unit.rest) > 2 and unit.rest[1] not in named)]
    if others:
        raise UserError(
            f"{where}: folders below the classes are named after splits ({few(named)}), but not all videos lie in them "
            f"({few(others, 2)}), so it is not clear what the others are for",
            advice="move them, rename the folders, or list the videos in a CSV (data.listing)",
        )
    for unit in units:
        if len(unit.rest) > 2:
            unit.split, unit.rest = split_named(unit.rest[1]), (unit.rest[0], *unit.rest[2:])
    return named


def _classes(units: list[_Unit], left_out: LeftOut, where: str, advice: str) -> tuple[list[_Unit], bool]:
    """Sets each unit's class: the top folder or, if there are no folders, the class in its UCF-101 name (then returns True)."""
    inside = [unit for unit in units if len(unit.rest) > 1]
    loose = [unit for unit in units if len(unit.rest) == 1]
    named = [unit for unit in loose if ucf_name(unit.rest[0])]
    if inside and named:
        raise UserError(
            f"{where}: {len(named)} videos named as in UCF-101 ({named[0].file.path}, ...) lie next to folders "
            f"({few(_tops(inside))}), so it is not clear whether names or folders are the classes",
            advice="put them into class folders, or take the folders out",
        )
    if not inside and loose and not named:
        frames = any(unit.file.images for unit in loose)
        what, expected = ("folders of images", "<class>/<clip>/<image>") if frames else ("videos", "<class>/<video>")
        raise UserError(
            f"{where}: {len(loose)} {what} lie without class folders ({few(unit.file.path for unit in loose)})",
            advice=f"put them into {expected}, or {advice or 'list them in data.listing'}",
        )
    kept = inside or named
    for unit in loose:
        if unit not in named:
            left_out.add(OUTSIDE, unit.file.path)
    for unit in kept:
        if inside:
            unit.category, unit.scenes = unit.rest[0], unit.rest[1:-1]
        else:
            unit.category = ucf_name(unit.rest[0])[0]
    return kept, not inside


def _scenes(units: list[_Unit]) -> list[str]:
    """The names of the folders below the classes that are groups; a folder that holds all of its class is none."""
    while units and all(unit.scenes for unit in units):
        names = defaultdict(set)
        for unit in units:
            names[unit.category].add(unit.scenes[0])
        if any(len(own) > 1 for own in names.values()):
            break
        for unit in units:
            unit.scenes = unit.scenes[1:]
    return sorted({unit.scenes[0] for unit in units if unit.scenes})


def _empty_classes(clips: list[Clip], folders: Iterable[str], roots: list[tuple[str, ...]], left_out: LeftOut) -> list[str]:
    """Names of the folders in `roots`, where class folders are expected, without a clip.

    A folder that holds only other files, such as annotations, is left out instead.
    """
    used = {clip.category for clip in clips}
    empty = set()
    for folder in folders:
        parts = PurePosixPath(folder).parts
        if parts[:-1] in roots and parts[-1] not in used:
            reasons = {reason for reason, names in left_out.names.items() if any(name.startswith(f"{folder}/") for name in names)}
            if reasons == {NOT_VIDEO}:
                left_out.add(NO_VIDEOS, folder)
            else:
                empty.add(parts[-1])
    return sorted(empty)


def _clip(unit: _Unit, scenes: bool) -> Clip:
    group, number = ucf_group(unit.file.path)
    if scenes and unit.scenes:
        group = unit.scenes[0]
    return Clip(unit.file.path, unit.category, group, number, unit.file.size, split=unit.split, images=unit.file.images)


def _words(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) if len(names) <= 5 else few(names, 5)


def _by_split(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (SPLITS.index(split_named(name)), name))


def _line(clips: list[Clip], pattern: str, scenes: list[str], splits: list[str], wrappers: list[str]) -> str:
    classes = sorted({clip.category for clip in clips})
    frames = any(clip.images for clip in clips)
    pattern = f"{pattern}/<image>" if frames else pattern.replace("<clip>", "<video>")
    parts = [f"layout {pattern}"]
    if wrappers:
        parts[0] += f" below {'/'.join(wrappers)}"
    parts.append(f"{len(classes)} classes ({few(classes, 5)}), {len(clips)} {'folders of images' if frames else 'videos'}")
    if splits:
        counts = Counter(clip.split for clip in clips)
        named = {split: [name for name in splits if split_named(name) == split] for split in SPLITS}
        parts.append(", ".join(f"{counts[split]} {split} ({', '.join(names)})" for split, names in named.items() if names))
    if scenes:
        by_class = Counter(scene for scene, _ in {(clip.group, clip.category) for clip in clips if clip.group in set(scenes)})
        shared = sum(count > 1 for count in by_class.values())
        alone = sum(clip.group not in by_class for clip in clips)
        more = f", {shared} of them in several classes" if shared else ""
        more += f"; those directly in a class folder ({alone}) are groups of their own" if alone else ""
        parts.append(f"the folder below a class is the group: {len(scenes)} ({few(scenes)}){more}")
    return "; ".join(parts)
