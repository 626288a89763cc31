"""Clips that show the same: in a grouped split they share a group, so that none is tested that trained under another name.

Byte-identical files (twins) are known before anything is fetched; near-duplicates (`pipeline.duplicates`) only once files are
here. Both come as sets of `Clip.source`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.check_results import CheckResult, ok, warning
from pipeline.sources.left_out import few
from pipeline.sources.source import Clip

__all__ = ["Twins", "find_twins", "in_one_group", "united"]


@dataclass(frozen=True)
class Twins:
    """sets: sources of the clips that show the same; each set is sorted, and so are the sets. kind: what messages call them."""

    sets: list[list[str]]
    kind: str = "identical files"

    def notes(self, clips: Iterable[Clip], grouped: bool) -> list[CheckResult]:
        """How many there are, how they are split, and which belong to two classes. grouped: whether they share a group."""
        if not self.sets:
            return []
        # A recording has segments of several classes, at different times.
        category = {clip.source: clip.category for clip in clips if clip.segment is None}
        if grouped:
            line = f"{self.kind} share a group, so that none is on two sides of the split: {_counted(self.sets)}"
        else:
            line = f"{self.kind} are split as if they differed: {_counted(self.sets)} ({_some(self.sets)})"
        notes = [ok("data", line)]
        crossing = [members for members in self.sets if len({category[source] for source in members if source in category}) > 1]
        if crossing:
            line = f"{self.kind} are in several classes: {_counted(crossing)} ({_some(crossing)})"
            notes.append(warning("data", line, "keep each in one class"))
        return notes


def _counted(sets: Sequence[Sequence[str]]) -> str:
    kind = "pair" if all(len(members) == 2 for members in sets) else "set"
    return f"{len(sets)} {kind}{'s' * (len(sets) != 1)}"


def _some(sets: Sequence[Sequence[str]]) -> str:
    return few((" = ".join(members) for members in sets), 2)


def find_twins(clips: Sequence[Clip], fingerprints: Callable[[list[Clip]], dict[str, Hashable]]) -> Twins:
    """Finds the identical clips. fingerprints: by source, equal if contents are; called only with clips of equal size."""
    sizes: dict[tuple[int, int], list[Clip]] = defaultdict(list)
    for clip in {clip.source: clip for clip in clips}.values():  # segments of a recording are one file
        sizes[clip.size, len(clip.images)].append(clip)
    shared = [clip for members in sizes.values() if len(members) > 1 for clip in members]
    found: dict[Hashable, list[str]] = defaultdict(list)
    for source, fingerprint in (fingerprints(shared) if shared else {}).items():
        found[fingerprint].append(source)
    return Twins(sorted(sorted(members) for members in found.values() if len(members) > 1))


def united(sets: Iterable[Iterable[str]]) -> list[list[str]]:
    """The sets with those joined that share a member, transitively; each sorted, without sets of one."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for members in sets:
        roots = sorted({find(name) for name in members})
        root.update(dict.fromkeys(roots[1:], roots[0]) if roots else {})
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(root):
        found[find(name)].append(name)
    return sorted(members for members in found.values() if len(members) > 1)


def in_one_group(clips: Sequence[Clip], sets: Iterable[Iterable[str]]) -> list[Clip]:
    """The clips with the groups of each set of sources merged, transitively, into the alphabetically first.

    All clips of a source count: a recording may have segments of several groups. Sources without clips here are ignored.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        groups[clip.source].add(clip.group)
    merged = united(set().union(*(groups.get(source, set()) for source in members)) for members in sets)
    first = {group: members[0] for members in merged for group in members}
    return [replace(clip, group=first.get(clip.group, clip.group)) for clip in clips]
