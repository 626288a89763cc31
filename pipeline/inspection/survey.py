"""Inspects a source: lists its clips, looks into every video, finds duplicates and groups, and states what to look at."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from pipeline.console import UserError
from pipeline.duplicates.fingerprints import SECONDS, Fingerprint, fingerprints
from pipeline.duplicates.names import named_like_copies
from pipeline.duplicates.search import find_duplicates
from pipeline.inspection.clips import Inventory, list_any
from pipeline.inspection.content import (
    ClassSummary,
    DuplicatePair,
    Duplicates,
    GroupBy,
    GroupCandidate,
    Inspection,
    NameHint,
    Video,
)
from pipeline.inspection.examine import Look, look_at_all
from pipeline.inspection.findings import make_findings
from pipeline.inspection.groups import READINGS, candidate, keys_by, suggest
from pipeline.inspection.listing import Row, is_listable, listing_text
from pipeline.inspection.next_steps import next_steps
from pipeline.inspection.suspicions import View, brightness, decoded_seconds, motion, short_segments, suspicions
from pipeline.settings import Data
from pipeline.sources.left_out import few
from pipeline.sources.source import Clip, Source
from pipeline.sources.twins import in_one_group
from pipeline.video.decode import BrokenVideo

__all__ = ["Asked", "Inspected", "inspect"]

Asked = Literal["suggested", "stem", "date", "person", "folder", "none"]


@dataclass(frozen=True)
class Inspected:
    """What was found, for all three files. listing: the CSV. thumbnails: JPEG by path, of what can be decoded."""

    content: Inspection
    listing: str
    thumbnails: dict[str, bytes]


class Grouping(NamedTuple):
    """What gives the groups of the listing, why, one clause, and the groups by path; a clip of another path keeps its own."""

    by: GroupBy
    why: str
    groups: Mapping[str, str]


def inspect(
    source: Source, data: Data, view: View, group_by: Asked, image_rate: float | None, out: Path, workers: int | None = None
) -> Inspected:
    """Inspects the local source that `data` names.

    Args:
      view: what the model sees of a clip. group_by: what gives the groups of the listing. image_rate: images per second of clips
        that are folders of images. out: where the results will lie, for the next steps. workers: processes; None: one per core.

    Raises UserError if nothing can be inspected.
    """
    listed = list_any(source, data)
    sources = list({clip.source: clip for clip in listed.clips}.values())
    stored = source.fetch(sources)
    files = {clip.source: stored.folder / clip.source for clip in sources}
    looks = look_at_all(files, image_rate, workers)
    readable = {path: file for path, file in files.items() if not isinstance(looks[path], BrokenVideo)}
    prints = fingerprints(readable, workers) if readable else {}
    return _summarise(listed, data, view, group_by, looks, prints, out)


def _summarise(
    listed: Inventory,
    data: Data,
    view: View,
    group_by: Asked,
    looks: Mapping[str, Look | BrokenVideo],
    prints: Mapping[str, Fingerprint | BrokenVideo],
    out: Path,
) -> Inspected:
    broken = {
        path: found.reason for found_by in (looks, prints) for path, found in found_by.items() if isinstance(found, BrokenVideo)
    }
    usable = [clip for clip in listed.clips if clip.source not in broken]
    decoded = {path: found for path, found in prints.items() if path not in broken}
    if not usable:
        path, reason = next(iter(broken.items()))
        raise UserError(
            f"none of the {len(broken)} videos can be decoded ({path}: {reason})", advice="check how they were copied"
        )
    duplicates = find_duplicates(decoded)
    grouping, candidates = _choose_groups(usable, group_by)
    grouped = [replace(clip, group=grouping.groups.get(clip.source, clip.group)) for clip in usable]
    usable = in_one_group(grouped, [one.members for one in duplicates])
    rows = [Row(clip.source, clip.category, clip.group, clip.split, clip.segment) for clip in usable if is_listable(clip.source)]
    videos = _videos([*usable, *(clip for clip in listed.clips if clip.source in broken)], looks, decoded, broken, view)
    # A recording has segments of several classes, at different times.
    labels = {clip.source: clip.category for clip in usable if clip.segment is None}
    sets = [
        Duplicates(
            paths=list(one.members),
            across_classes=len({labels[path] for path in one.members if path in labels}) > 1,
            pairs=[DuplicatePair(first=pair.first, second=pair.second, kind=pair.kind, score=pair.score) for pair in one.pairs],
        )
        for one in duplicates
    ]
    sets.sort(key=lambda one: (not one.across_classes, one.paths))
    set_of = {path: number for number, one in enumerate(sets) for path in one.paths}
    hints = [
        NameHint(original=original, copy_path=copy)
        for original, copy in named_like_copies(decoded)
        if set_of.get(original, -1) != set_of.get(copy, -2)
    ]
    classes = _classes(usable, videos)
    content = Inspection(
        source=data.archive or data.folder,
        archive=data.archive is not None,
        layout=listed.layout,
        recognised=listed.recognised,
        seconds=sum(video.seconds or 0 for video in videos if video.broken is None),
        bytes=sum(video.bytes for video in videos),
        clips=len(usable),
        unlabelled=sum(not row.label for row in rows),
        grouped_by=grouping.by,
        grouping=grouping.why,
        findings=make_findings(listed, videos, classes, sets, hints, bool(candidates), grouping.by),
        classes=classes,
        group_candidates=candidates,
        duplicates=sets,
        name_hints=hints,
        unused=listed.unused,
        videos=videos,
        next_steps=next_steps(data, out, listed.recognised, sum(not row.label for row in rows)),
    )
    thumbnails = {path: look.thumbnail for path, look in looks.items() if path not in broken and isinstance(look, Look)}
    return Inspected(content, listing_text(rows), thumbnails)


def _choose_groups(clips: Sequence[Clip], asked: Asked) -> tuple[Grouping, list[GroupCandidate]]:
    """The groups before duplicates are merged, and what names suggest for the videos without a group by the layout."""
    given = {clip.source for clip in clips if clip.group != clip.source}
    overruled = asked != "suggested"
    labels = {clip.source: clip.category for clip in clips if overruled or clip.source not in given}
    own = {path: path for path in labels}
    keys = {reading: keys_by(reading, labels) for reading in READINGS}
    candidates = [one for reading in READINGS if (one := candidate(reading, keys[reading], labels)) is not None]
    if asked == "none":
        return Grouping("none", "--group-by none: every video is its own group", own), candidates
    if asked != "suggested":
        chosen = keys[asked]
        why = f"--group-by {asked}: {len(chosen)} of {len(labels)} names state a group, the others are groups of their own"
        return Grouping(asked, why, own | chosen), candidates
    best = suggest(candidates)
    if given and best is not None:
        why = f"the layout groups {len(given)} videos; of the {len(labels)} others, {best.by}: {best.reason}"
        return Grouping("layout", why, own | keys[best.by]), candidates
    if given:
        why = (
            "the layout states them"
            if not labels
            else f"the layout groups {len(given)} videos, {len(labels)} are their own groups"
        )
        return Grouping("layout", why, own), candidates
    if best is not None:
        return Grouping(best.by, best.reason, own | keys[best.by]), candidates
    return Grouping(
        "none", "no reading of the names gives groups that a split can use: every video is its own group", own
    ), candidates


def _videos(
    clips: Sequence[Clip],
    looks: Mapping[str, Look | BrokenVideo],
    decoded: Mapping[str, Fingerprint],
    broken: Mapping[str, str],
    view: View,
) -> list[Video]:
    seconds = {}
    for path, found in decoded.items():
        length, stated = decoded_seconds(found.frames), looks[path].seconds
        seconds[path] = stated if length >= SECONDS and stated is not None else length
    typical = median(seconds.values()) if seconds else 0.0
    of_source: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        of_source[clip.source].append(clip)
    videos = []
    for path, own in sorted(of_source.items()):
        look = looks[path]
        labels = Counter(clip.category for clip in own)
        content = {
            "path": path,
            "label": few(sorted(labels)),
            "labels": dict(sorted(labels.items())) if len(labels) > 1 else {},
            "group": few(sorted({clip.group for clip in own})),
            "split": ", ".join(sorted({clip.split for clip in own if clip.split is not None})) or None,
            "bytes": own[0].size,
            "clips": len(own),
        }
        if isinstance(look, Look):
            content |= {"header_seconds": look.seconds, "width": look.width, "height": look.height}
            content |= {"fps": look.fps, "codec": look.codec, "seconds": look.seconds}
        if path in broken:
            videos.append(Video(**content, broken=broken[path]))
            continue
        frames = decoded[path].frames
        images = bool(own[0].images)
        parts = [length for clip in own if clip.segment and (length := _clip_seconds(clip, seconds[path])) is not None]
        content |= {
            "seconds": look.seconds if images else seconds[path],
            "looked_at": None if images else decoded_seconds(frames),
            "motion": motion(frames),
            "brightness": brightness(frames),
            "suspicions": [
                *suspicions(look, frames, view, typical if own[0].segment is None else None, images),
                *short_segments(parts, view),
            ],
        }
        videos.append(Video(**content))
    return videos


def _classes(clips: Sequence[Clip], videos: Sequence[Video]) -> list[ClassSummary]:
    of_path = {video.path: video for video in videos}
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        members[clip.category].append(clip)
    summaries = []
    for label, own in sorted(members.items()):
        seconds = [length for clip in own if (length := _clip_seconds(clip, of_path[clip.source].seconds)) is not None]
        sizes = Counter({clip.source: of_path[clip.source].bytes for clip in own})
        summaries.append(
            ClassSummary(
                label=label,
                clips=len(own),
                seconds=sum(seconds),
                median_seconds=median(seconds) if seconds else None,
                share=len(own) / len(clips),
                groups=len({clip.group for clip in own}),
                bytes=sum(sizes.values()),
                splits=Counter(clip.split for clip in own if clip.split is not None),
            )
        )
    return summaries


def _clip_seconds(clip: Clip, video: float | None) -> float | None:
    if clip.segment is None:
        return video
    ends = [end for end in (clip.segment.end, video) if end is not None]
    return max(0.0, min(ends) - clip.segment.start) if ends else None
