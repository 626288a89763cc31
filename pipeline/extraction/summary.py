"""The summary of the extracted frames (frames.json), and the lines that are printed about clips that are not whole."""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from pipeline.artifacts import DamagedClip, FrameCounts, FramesSummary, SkippedClip, SplitFrames
from pipeline.console import UserError
from pipeline.extraction.shards import Shard, ShardReport
from pipeline.settings import Frames
from pipeline.sources.manifest import SPLITS

NAMED = 10  # clips listed by name; frames.json lists all


def summarise(
    plan: Sequence[Shard], reports: Sequence[ShardReport], classes: list[str], frames: Frames, folder: Path
) -> FramesSummary:
    """Summarises the shards in `folder`. Raises UserError if a class has no clip left in a split."""
    counts = {clip: count for report in reports for clip, count in report.frames.items()}
    skipped = [
        SkippedClip(clip=clip, split=shard.split, reason=reason)
        for shard, report in zip(plan, reports, strict=True)
        for clip, reason in sorted(report.skipped.items())
    ]
    damaged = [
        DamagedClip(clip=clip, split=shard.split, **damage)
        for shard, report in zip(plan, reports, strict=True)
        for clip, damage in sorted(report.damaged.items())
    ]
    _check_classes(plan, set(counts), skipped)
    return FramesSummary(
        classes=classes,
        fps=frames.fps,
        size=frames.size,
        quality=frames.quality,
        splits={split: _split([s for s in plan if s.split == split], counts, classes, folder) for split in SPLITS},
        skipped=skipped,
        damaged=damaged,
    )


def _split(shards: list[Shard], counts: dict[str, int], classes: list[str], folder: Path) -> SplitFrames:
    clips = [clip for shard in shards for clip in shard.clips if clip.id in counts]
    frames = [counts[clip.id] for clip in clips]
    per_class = Counter(clip.text for clip in clips)
    return SplitFrames(
        clips=len(clips),
        frames=sum(frames),
        groups=len({clip.group for clip in clips}),
        bytes=sum((folder / shard.name).stat().st_size for shard in shards),
        frames_per_clip=FrameCounts(min=min(frames), median=statistics.median(frames), max=max(frames)) if frames else None,
        per_class={name: per_class[name] for name in classes},
        files=[shard.name for shard in shards],
    )


def _check_classes(plan: Sequence[Shard], kept: set[str], skipped: list[SkippedClip]) -> None:
    """Raises UserError if a split loses a class: the classifier would be trained or tested on another problem."""
    first = f" (first reason: {skipped[0].clip}: {skipped[0].reason})" if skipped else ""
    if not kept:
        raise UserError(f"none of the {len(skipped)} clips can be decoded{first}")
    for split, shards in groupby(plan, key=lambda shard: shard.split):
        clips = [clip for shard in shards for clip in shard.clips]
        lost = sorted({clip.text for clip in clips} - {clip.text for clip in clips if clip.id in kept})
        if lost:
            message = f"no {split} clip of {', '.join(lost)} can be decoded{first}"
            raise UserError(message, advice="replace files or drop the class (data.classes)")


def report_lines(summary: FramesSummary, clips: int) -> Iterator[str]:
    """Yields the lines to print about skipped and damaged clips. clips: number of clips in the manifest."""
    if summary.skipped:
        yield f"{len(summary.skipped)} of {clips} clips are skipped:"
        yield from _named([(clip.clip, clip.split, clip.reason) for clip in summary.skipped])
    if summary.damaged:
        decoded, expected = sum(clip.decoded for clip in summary.damaged), sum(clip.expected for clip in summary.damaged)
        yield f"{len(summary.damaged)} of {clips} clips are damaged; {decoded:,} of their {expected:,} frames are kept:"
        yield from _named([(clip.clip, clip.split, clip.complaint) for clip in summary.damaged])


def _named(clips: list[tuple[str, str, str]]) -> Iterator[str]:
    yield from (f"  {clip} ({split}): {why}" for clip, split, why in clips[:NAMED])
    if len(clips) > NAMED:
        yield f"  and {len(clips) - NAMED} more, listed in frames.json"
