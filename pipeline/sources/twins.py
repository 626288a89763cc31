"""Byte-identical clips: in a grouped split they share a group, so that no file is tested that trained under another name."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.check_results import CheckResult, ok, warning
from pipeline.sources.left_out import few
from pipeline.sources.source import Clip

__all__ = ["Twins", "find_twins", "in_one_group"]


@dataclass(frozen=True)
class Twins:
    """sets: sources of the clips that are byte-identical; each set is sorted, and so are the sets."""

    sets: list[list[str]]

    def notes(self, clips: Iterable[Clip], grouped: bool) -> list[CheckResult]:
        """How many there are, how they are split, and which belong to two classes."""
        if not self.sets:
            return []
        category = {clip.source: clip.category for clip in clips}
        if grouped:
            line = f"identical files share a group, so that none is on two sides of the split: {_counted(self.sets)}"
        else:
            line = f"identical files are split as if they differed: {_counted(self.sets)} ({_some(self.sets)})"
        notes = [ok("data", line)]
        crossing = [members for members in self.sets if len({category[source] for source in members}) > 1]
        if crossing:
            line = f"identical files are in several classes: {_counted(crossing)} ({_some(crossing)})"
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
    for clip in clips:
        sizes[clip.size, len(clip.images)].append(clip)
    shared = [clip for members in sizes.values() if len(members) > 1 for clip in members]
    found: dict[Hashable, list[str]] = defaultdict(list)
    for source, fingerprint in (fingerprints(shared) if shared else {}).items():
        found[fingerprint].append(source)
    return Twins(sorted(sorted(members) for members in found.values() if len(members) > 1))


def in_one_group(clips: Sequence[Clip], twins: Twins) -> list[Clip]:
    """The clips with the groups of identical clips merged, transitively; a merged group takes its alphabetically first name."""
    group = {clip.source: clip.group for clip in clips}
    first = {name: name for name in group.values()}

    def root(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    for members in twins.sets:
        roots = sorted({root(group[source]) for source in members})
        for other in roots[1:]:
            first[other] = roots[0]
    return [replace(clip, group=root(clip.group)) for clip in clips]
