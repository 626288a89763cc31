"""What is taken of a source: which clips, of which classes, in which split. `download` makes it so, the doctor says it."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace

from pipeline.console import UserError
from pipeline.settings import Data, Split
from pipeline.sources.class_names import name_classes
from pipeline.sources.classes import choose_classes
from pipeline.sources.left_out import few
from pipeline.sources.manifest import SPLITS
from pipeline.sources.naming import Clip, Found, folded, identified
from pipeline.sources.source import Source
from pipeline.sources.splits import split_clips
from pipeline.sources.twins import find_twins, in_one_group

__all__ = ["Plan", "plan_clips"]


@dataclass(frozen=True)
class Plan:
    """classes: sorted; a clip's label is its class's position. parts: clips by split, each sorted by name.
    lines: how the source was understood, for the user; the first is the layout. left_out: files that are not taken.
    """

    classes: list[str]
    parts: dict[str, list[Clip]]
    lines: list[str]
    left_out: int

    @property
    def clips(self) -> list[Clip]:
        return [clip for split in SPLITS for clip in self.parts[split]]


def plan_clips(source: Source, data: Data, seed: int) -> Plan:
    """Lists the source, chooses classes, and divides their clips; fetches nothing.

    Raises UserError for what the user can mend: no videos, unknown classes, classes that differ in case alone, a split that
    cannot be made.
    """
    found = source.list_clips()
    if not found.clips:
        out = f" ({found.left_out.line()})" if found.left_out.count else ""
        raise UserError(
            f"{source.name}: no videos in class folders{out}",
            advice="expected <class>/<video>, <split>/<class>/<video> or <class>/<clip>/<image>; or list them in data.listing",
        )
    lines = [found.layout, *found.notes]
    clips: Collection[Clip] = found.clips
    if data.class_names is not None:
        clips, line = name_classes(clips, data.class_names)
        lines = [line if "data.class_names" in note else note for note in lines]
        lines += [] if line in lines else [line]
    classes = choose_classes({clip.category for clip in clips}, data.num_classes, data.classes, found.empty)
    clips = [clip for clip in clips if clip.category in classes]
    _refuse_same_names(classes, clips)
    clips = identified(clips)
    split, more = _resolved(data.split, found)
    lines += more
    if split.scheme == "given":
        clips, more = _with_test(clips)
        lines += more
    twins = find_twins(clips, source.fingerprints)
    grouped = split.scheme == "grouped"
    lines += twins.lines(clips, grouped)
    try:
        parts = split_clips(in_one_group(clips, twins) if grouped else clips, split, seed)
    except UserError as error:
        if not (grouped and twins.sets):
            raise
        # Merged groups may be why there are too few.
        raise UserError(f"{error.message} ({twins.lines(clips, grouped)[0]})", advice=error.advice) from error
    return Plan(classes, parts, [*lines, *([found.left_out.line()] if found.left_out.count else [])], found.left_out.count)


def _resolved(split: Split, found: Found) -> tuple[Split, list[str]]:
    """The split with the scheme that `auto` stands for, and a line that says whose split is used."""
    if split.scheme == "auto":
        scheme = "given" if found.splits else "grouped"
        why = (
            f"the split of {found.splits} is used"
            if found.splits
            else "no split is given, so whole groups are drawn for each part"
        )
        return split.model_copy(update={"scheme": scheme}), [f"data.split.scheme=auto: {why}"]
    if split.scheme == "given" and not found.splits:
        raise UserError(
            "data.split.scheme=given takes the split from a listing's split column or from folders named train and test, "
            "and there is neither",
            advice="use grouped or random, add a column split to data.listing, or sort the videos into such folders",
        )
    if found.splits and split.scheme != "given":
        return split, [
            f"the split of {found.splits} is not used, because data.split.scheme={split.scheme} (given or auto uses it)"
        ]
    return split, []


def _with_test(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Validation clips stand in for test clips where there are none: scores must come from clips nothing was chosen by."""
    if {clip.split for clip in clips} != {"train", "validation"}:
        return clips, []
    moved = [replace(clip, split="test") if clip.split == "validation" else clip for clip in clips]
    return moved, [
        "the split has no test part: its validation clips are tested, and others are held out of training to choose by"
    ]


def _refuse_same_names(classes: list[str], clips: Collection[Clip]) -> None:
    """Raises UserError for classes that case or Unicode normalisation alone tells apart.

    Most often they are one class, spelled twice. And a file system that ignores case (macOS, Windows) would merge their folders
    in data/clips, so the same commit would give other data there.
    """
    same = defaultdict(list)
    for name in classes:
        same[folded(name)].append(name)
    pairs = [names for names in same.values() if len(names) > 1]
    if not pairs:
        return
    counts = [f"{name!r} ({sum(clip.category == name for clip in clips)} clips)" for name in pairs[0]]
    how = (
        "in case"
        if len({name.lower() for name in pairs[0]}) == 1
        else "in how their letters are composed (Unicode normalisation)"
    )
    more = f"; {len(pairs) - 1} more such: {few(' and '.join(names) for names in pairs[1:])}" if len(pairs) > 1 else ""
    raise UserError(
        f"classes {' and '.join(counts)} differ only {how}{more}",
        advice="rename one if they differ, merge them if not, or choose with data.classes",
    )
