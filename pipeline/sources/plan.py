"""Which clips of a source are used: their classes, names and split. The download stage carries it out; the doctor reports it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas

from pipeline.check_results import CheckResult, ok
from pipeline.console import UserError
from pipeline.settings import Data, Split
from pipeline.sources.class_names import name_classes
from pipeline.sources.classes import choose_classes
from pipeline.sources.left_out import few
from pipeline.sources.manifest import COLUMNS, SPLITS
from pipeline.sources.naming import folded, identified
from pipeline.sources.source import Clip, Found, Source, distinct_files
from pipeline.sources.splits import split_clips
from pipeline.sources.twins import Twins, find_twins, in_one_group, united

__all__ = ["Plan", "near_duplicates", "plan_clips"]


@dataclass(frozen=True)
class Plan:
    """The clips that are used.

    Attributes:
      classes: sorted; a clip's label is its class's index.
      parts: clips by split, each sorted by name.
      notes: how the source was understood, of which the first is the layout, and what to look at in it.
      grouped: whether whole groups are drawn for each part.
      merges: whether clips that show the same share a group (only if `grouped`).
    """

    classes: list[str]
    parts: dict[str, list[Clip]]
    notes: list[CheckResult]
    grouped: bool = False
    merges: bool = False

    @property
    def clips(self) -> list[Clip]:
        return [clip for split in SPLITS for clip in self.parts[split]]

    @property
    def bytes(self) -> int:
        """Of all files; a recording counts once."""
        return sum(clip.size for clip in distinct_files(self.clips))

    def manifest(self, hashes: Mapping[str, str], duplicates: Sequence[Sequence[str]] = ()) -> pandas.DataFrame:
        """The manifest of the clips. hashes: SHA-256 by `Clip.source`. duplicates: sets of sources that show the same."""
        labels = {name: label for label, name in enumerate(self.classes)}
        first = _first_of_each(self.clips, duplicates)
        rows = []
        for split, clips in self.parts.items():
            for clip in clips:
                start, end = ("", "") if clip.segment is None else map(_seconds, clip.segment)
                place = (clip.clip, clip.file, start, end)
                what = (clip.category, labels[clip.category], clip.group, split, clip.source, first.get(clip.clip, ""))
                rows.append((*place, *what, clip.size, hashes[clip.source]))
        return pandas.DataFrame(sorted(rows), columns=list(COLUMNS)).astype(COLUMNS)


def _first_of_each(clips: Collection[Clip], duplicates: Sequence[Sequence[str]]) -> dict[str, str]:
    """By the name of each clip that shows the same as another, the first name of those.

    Of recordings that are the same, segments at the same times are.
    """
    members: dict[tuple, list[str]] = defaultdict(list)
    number = {source: index for index, sources in enumerate(duplicates) for source in sources}
    for clip in clips:
        if clip.source in number:
            members[number[clip.source], clip.segment].append(clip.clip)
    return {name: min(names) for names in members.values() if len(names) > 1 for name in names}


def _seconds(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def plan_clips(source: Source, data: Data, seed: int, near: Sequence[Sequence[str]] = ()) -> Plan:
    """Lists the clips of the source, chooses classes, and splits their clips; fetches nothing.

    near: sets of sources that show the same, as far as known; as identical files, they share a group if `Plan.merges`.

    Raises UserError for what the user can fix: no videos, unknown classes, classes that differ only in case, an impossible split.
    """
    found = source.list_clips()
    if not found.clips:
        out = f" ({found.left_out.line()})" if found.left_out.count else ""
        raise UserError(
            f"{source.name}: no videos in class folders{out}",
            advice="expected <class>/<video>, or videos named v_<Class>_gNN_cNN.<suffix>; a listing may give the classes instead",
        )
    lines = [found.layout, *found.notes]
    clips = found.clips
    background = data.background.label if data.background is not None else None
    if data.class_names is not None:
        clips, line = name_classes(clips, data.class_names, background)
        lines = [note for note in lines if not note.startswith("the labels are numbers")] + [line]
    classes = choose_classes({clip.category for clip in clips}, data.num_classes, data.classes, found.empty, background)
    clips = [clip for clip in clips if clip.category in classes]
    _refuse_same_names(classes, clips)
    clips = identified(clips)
    split, more = _resolve(data.split, found)
    lines += more
    if split.scheme == "given":
        clips, more = _with_test(clips)
        lines += more
    twins = Twins([]) if split.duplicates == "ignore" else find_twins(clips, source.fingerprints)
    grouped = split.scheme in ("grouped", "folds")
    merges = grouped and split.duplicates == "group"
    known = [*twins.notes(clips, merges), *near_duplicates(near, twins.sets).notes(clips, merges)]
    notes = [*(ok("data", line) for line in lines), *found.warnings, *known]
    try:
        parts = split_clips(in_one_group(clips, united([*twins.sets, *near])) if merges else clips, split, seed)
    except UserError as error:
        merged = [note.message for note in known if note.status == "ok"]
        if not (merges and merged):
            raise
        # Merged groups may be the reason why there are too few.
        raise UserError(f"{error.message} ({'; '.join(merged)})", advice=error.advice) from error
    if found.left_out.count:
        notes.append(ok("data", found.left_out.line()))
    return Plan(classes, parts, notes, grouped, merges)


def near_duplicates(sets: Sequence[Sequence[str]], identical: Sequence[Sequence[str]] = ()) -> Twins:
    """The sets that are not of identical files alone, for messages."""
    return Twins([list(one) for one in sets if not any(set(one) <= set(same) for same in identical)], "near-duplicates")


def _resolve(split: Split, found: Found) -> tuple[Split, list[str]]:
    """Replaces `auto` by the scheme that fits the source; also returns lines for the user about the split that is used."""
    if split.scheme == "auto" and found.splits:
        line = f"data.split.scheme=auto: the split of {found.splits} is used"
        return split.model_copy(update={"scheme": "given"}), [line]
    if split.scheme == "auto":
        line = "data.split.scheme=auto: no split is given, so whole groups are drawn for each part"
        return split.model_copy(update={"scheme": "grouped"}), [line]
    if split.scheme == "given" and not found.splits:
        raise UserError(
            "data.split.scheme=given takes the split from a listing's split column or from folders named train and test, "
            "and there is neither",
            advice="use grouped or random, add a column split to data.listing, or sort the videos into such folders",
        )
    if found.splits and split.scheme != "given":
        why = f"because data.split.scheme={split.scheme} (given or auto uses it)"
        return split, [f"the split of {found.splits} is not used, {why}"]
    return split, []


def _with_test(clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Uses the validation clips as test clips if there are none: the test score must come from clips that chose nothing."""
    if {clip.split for clip in clips} != {"train", "validation"}:
        return clips, []
    moved = [replace(clip, split="test") if clip.split == "validation" else clip for clip in clips]
    line = "the split has no test part: its validation clips are tested, and others are held out of training for validation"
    return moved, [line]


def _refuse_same_names(classes: list[str], clips: Collection[Clip]) -> None:
    """Raises UserError for classes whose names differ only in case or Unicode normalisation.

    Usually they are one class, spelled in two ways. A file system that ignores case (macOS, Windows) would also merge their
    folders in data/clips, so the same commit would give other data there.
    """
    same = defaultdict(list)
    for name in classes:
        same[folded(name)].append(name)
    pairs = [names for names in same.values() if len(names) > 1]
    if not pairs:
        return
    counts = [f"{name!r} ({sum(clip.category == name for clip in clips)} clips)" for name in pairs[0]]
    case = len({name.lower() for name in pairs[0]}) == 1
    more = f"; {len(pairs) - 1} more such: {few(' and '.join(names) for names in pairs[1:])}" if len(pairs) > 1 else ""
    raise UserError(
        f"classes {' and '.join(counts)} differ only in {'case' if case else 'Unicode normalisation'}{more}",
        advice="rename one if they differ, merge them if not, or choose with data.classes",
    )
