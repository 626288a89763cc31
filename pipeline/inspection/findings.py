"""What to look at after an inspection, the most serious first."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from pipeline.inspection.clips import UNSAFE, Inventory
from pipeline.inspection.content import ClassSummary, Duplicates, Finding, GroupBy, NameHint, Video
from pipeline.inspection.groups import MIN_GROUPS
from pipeline.inspection.listing import is_listable
from pipeline.inspection.suspicions import KINDS
from pipeline.sources.imbalance import imbalance
from pipeline.sources.left_out import OUTSIDE, UNREADABLE, few

__all__ = ["counted", "make_findings"]

# How much more often than by always naming the largest class a property of the files names the right one, as a share of the
# clips that this gets wrong.
REVEALING = 0.5
REVEALING_VIDEOS = 3  # of one value of the property, so that values that are different everywhere do not count


def make_findings(
    listed: Inventory,
    videos: Sequence[Video],
    classes: Sequence[ClassSummary],
    duplicates: Sequence[Duplicates],
    hints: Sequence[NameHint],
    can_group: bool,
    grouped_by: GroupBy,
) -> list[Finding]:
    """can_group: whether names suggest groups. grouped_by: what gives those of the listing."""
    found = [
        *_layout(listed, classes),
        *_broken(videos),
        *_unlistable(videos),
        *_unused(listed),
        *_duplicates(duplicates),
        *_classes(listed, classes),
        *_revealing(videos),
        *_groups(classes, can_group, grouped_by),
        *_suspicious(videos),
        *_hints(hints),
        *(Finding(kind="source_warning", status="warning", message=one.message, advice=one.advice) for one in listed.warnings),
        *(Finding(kind="source_note", status="note", message=note) for note in listed.notes),
    ]
    order = ("problem", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.status))


def counted(number: int, one: str, many: str = "") -> str:
    """E.g. `1 video`, `1,200 videos`. many: the plural, if it is not `one` with an s."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {many or one + 's'}"


def _layout(listed: Inventory, classes: Sequence[ClassSummary]) -> Iterator[Finding]:
    if listed.error is not None:
        labels = [one.label for one in classes if one.label]
        message = f"no classes are recognised: {listed.error.message}"
        advice = "fill in the column label of the listing"
        if labels:
            message += f". The listing proposes {counted(len(labels), 'label')} by folder ({few(labels, 5)})"
            advice = "check the labels in the listing" + (
                ", and fill in the empty ones" if any(not c.label for c in classes) else ""
            )
        yield Finding(kind="no_layout", status="problem", message=message, advice=advice)
    if listed.empty:
        message = f"{counted(len(listed.empty), 'class folder holds', 'class folders hold')} no video: {few(listed.empty, 5)}"
        yield Finding(
            kind="empty_class", status="warning", message=message, advice="fill or remove them", paths=list(listed.empty)
        )
    if len(classes) == 1 and classes[0].label:
        message = f"there is only one class ({classes[0].label}), and a classifier needs two"
        yield Finding(kind="one_class", status="problem", message=message, advice="sort the videos into a folder for each class")


def _broken(videos: Sequence[Video]) -> Iterator[Finding]:
    broken = [video for video in videos if video.broken is not None]
    if broken:
        shown = "; ".join(f"{video.path}: {video.broken}" for video in broken[:2]) + ("; ..." if len(broken) > 2 else "")
        are = "is" if len(broken) == 1 else "are"
        yield Finding(
            kind="broken",
            status="problem",
            message=f"{counted(len(broken), 'video')} cannot be decoded and {are} not listed: {shown}",
            advice="copy them again from where they come from, or remove them",
            paths=[video.path for video in broken],
        )


def _unlistable(videos: Sequence[Video]) -> Iterator[Finding]:
    paths = [video.path for video in videos if video.broken is None and not is_listable(video.path)]
    if paths:
        message = f"{counted(len(paths), 'name')} with a space at its start or end, which a listing cannot hold: {paths[0]!r}"
        yield Finding(kind="unlistable", status="problem", message=message, advice="rename them", paths=paths)


_ADVICE = {
    OUTSIDE.one: "move them into class folders",
    UNREADABLE.one: "change their permissions, or remove them",
    UNSAFE.one: "rename them",
}


def _unused(listed: Inventory) -> Iterator[Finding]:
    by_reason = defaultdict(list)
    for one in listed.unused:
        if one.problem:
            by_reason[one.reason].append(one.path)
    for reason, paths in by_reason.items():
        message = f"not used: {len(paths)} x {reason} ({few(paths)})" if len(paths) > 1 else f"not used: {reason} ({paths[0]})"
        advice = _ADVICE.get(reason, "copy them again, or remove them")
        yield Finding(kind="unused", status="problem", message=message, advice=advice, paths=paths)


def _duplicates(sets: Sequence[Duplicates]) -> Iterator[Finding]:
    crossing = [one for one in sets if one.across_classes]
    if crossing:
        shown = few((" = ".join(one.paths) for one in crossing), 2)
        yield Finding(
            kind="duplicates_across_classes",
            status="problem",
            message=f"{counted(len(crossing), 'set')} of near-duplicates with several labels: {shown}",
            advice="keep each in one class, or cut out the part that shows the action",
            paths=[path for one in crossing for path in one.paths],
        )
    within = [one for one in sets if not one.across_classes]
    if within:
        kinds = Counter(pair.kind for one in within for pair in one.pairs)
        more = sum(len(one.paths) - 1 for one in within)
        yield Finding(
            kind="duplicates",
            status="warning",
            message=f"{counted(len(within), 'set')} of near-duplicates within a class, {counted(more, 'video')} too many "
            f"({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())})",
            advice="nothing has to be done: in the listing each set shares a group, so that no copy is tested",
            paths=[path for one in within for path in one.paths],
        )


def _classes(listed: Inventory, classes: Sequence[ClassSummary]) -> Iterator[Finding]:
    named = [one for one in classes if one.label]
    bare = [one for one in named if one.groups < MIN_GROUPS]
    if bare and not listed.splits:
        shown = few((f"{one.label} {one.groups}" for one in bare), 5)
        yield Finding(
            kind="few_groups",
            status="problem",
            message=f"{counted(len(bare), 'class has', 'classes have')} under {MIN_GROUPS} groups and cannot be split: {shown}",
            advice="add videos of other scenes, name finer groups in the listing, or leave the class out (data.classes)",
        )
    if listed.splits:
        lacking = [one.label for one in named if "train" not in one.splits or not one.splits.keys() & {"test", "validation"}]
        if lacking:
            message = f"{counted(len(lacking), 'class lacks', 'classes lack')} clips in train or in test: {few(lacking, 5)}"
            yield Finding(
                kind="split_lacks", status="problem", message=message, advice="move some, or set data.split.scheme=grouped"
            )
    message = imbalance({one.label: one.clips for one in named})
    if message:
        yield Finding(
            kind="imbalance",
            status="warning",
            message=message,
            advice="add clips, or set finetune.balance=weight; read macro F1, not only accuracy",
        )


def _revealing(videos: Sequence[Video]) -> Iterator[Finding]:
    """Properties of the files that give the class away: a model can learn them instead of the action."""
    usable = [video for video in videos if video.broken is None and video.label]
    labels = _clips_by_label(usable)
    if len(labels) < 2:
        return
    baseline = max(labels.values()) / labels.total()
    properties: dict[str, Callable[[Video], object]] = {
        "resolution": lambda video: f"{video.width}x{video.height}",
        "frame rate": lambda video: video.fps and f"{video.fps:.4g} fps",
        "colour": lambda video: "grey" if any(one.kind == "grey" for one in video.suspicions) else "coloured",
    }
    for name, value_of in properties.items():
        having = defaultdict(list)
        for video in usable:
            having[value_of(video)].append(video)
        common = {value: _clips_by_label(some) for value, some in having.items() if len(some) >= REVEALING_VIDEOS}
        if len(common) < 2:
            continue
        right = sum(max(counts.values()) for counts in common.values()) / labels.total()
        if right - baseline > REVEALING * (1 - baseline):
            telling = sorted(common.items(), key=lambda item: -max(item[1].values()))
            shown = few((f"{value}: {_mostly(counts)}" for value, counts in telling), 3)
            yield Finding(
                kind="revealing_property",
                status="warning",
                message=f"the {name} alone gives the class of {right:.0%} of the clips (largest class: {baseline:.0%}): {shown}",
                advice="a model may learn that instead of the action: record classes alike, and test on videos from elsewhere",
            )


def _clips_by_label(videos: Sequence[Video]) -> Counter:
    counts: Counter[str] = Counter()
    for video in videos:
        counts.update(video.clips_by_label)
    return counts


def _mostly(counts: Counter) -> str:
    label, count = counts.most_common(1)[0]
    return f"{count} of {counts.total()} {label}"


def _groups(classes: Sequence[ClassSummary], can_group: bool, grouped_by: GroupBy) -> Iterator[Finding]:
    if grouped_by == "none" and sum(one.clips for one in classes) > len(classes):
        yield Finding(
            kind="no_groups",
            status="warning",
            message="every video is its own group, but for duplicates: clips of one scene may be on both sides of a split",
            advice="fill in the column group of the listing"
            + (", or see the readings of the names (--group-by)" if can_group else ""),
        )


def _suspicious(videos: Sequence[Video]) -> Iterator[Finding]:
    for kind, (one, many, advice) in KINDS.items():
        paths = [video.path for video in videos if any(suspicion.kind == kind for suspicion in video.suspicions)]
        if paths:
            status = "note" if advice.startswith("nothing to do") else "warning"
            message = f"{counted(len(paths), 'video')} {one if len(paths) == 1 else many}: {few(paths)}"
            yield Finding(kind=kind, status=status, message=message, advice=advice, paths=paths)


def _hints(hints: Sequence[NameHint]) -> Iterator[Finding]:
    if hints:
        shown = few((f"{hint.copy_path} of {hint.original}" for hint in hints), 2)
        yield Finding(
            kind="named_like_copy",
            status="note",
            message=f"{counted(len(hints), 'video is', 'videos are')} named like a copy, but not found to show the same: {shown}",
            advice="compare them if they should be copies",
            paths=[hint.copy_path for hint in hints],
        )
