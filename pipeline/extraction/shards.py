"""The TFRecord files of each split: which clips each holds, and writing those that a killed run has not finished.

Invariant: which clips a shard holds, and in which order, depends on the manifest and on frames.shards alone.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd
from tqdm import tqdm

from pipeline.cluster import Workers
from pipeline.console import progress, say
from pipeline.extraction.clips import Clip, complaint, damaged_error
from pipeline.extraction.decoding import encode_clips
from pipeline.extraction.recordings import decode_recordings, read_segment, segment_file
from pipeline.files import content_key, read_json, write_json
from pipeline.settings import Frames
from pipeline.sources.manifest import SPLITS, segment_of
from pipeline.video.decode import BrokenVideo, EncodedClip, library_versions
from pipeline.video.records import serialize_clip, shard_names, shard_order, write_shard

RECORDS_VERSION = 2  # raise when the records' content changes, so that shards of a killed older run are not reused


class Shard(NamedTuple):
    """One TFRecord file and the clips assigned to it."""

    name: str
    split: str
    clips: list[Clip]


@dataclass
class ShardReport:
    """What became of each clip of a shard. It is written after the shard, so that it marks a finished one.

    Attributes, each by clip:
      frames: number of frames in its record. skipped: why it has no record. damaged: what was wrong with one that has.
    """

    frames: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    def path(folder: Path, shard: Shard) -> Path:
        return folder / f"{shard.name}.json"

    @classmethod
    def read(cls, folder: Path, shard: Shard) -> Self:
        return cls(**read_json(cls.path(folder, shard)))


def plan_shards(manifest: pd.DataFrame, shards: int) -> list[Shard]:
    """Assigns every clip to a shard: per split, the clips ordered by the hash of their ids are dealt to the shards in turn."""
    columns = ["clip", "label", "class", "group", "bytes", "file", "start", "end"]
    plan = []
    for split in SPLITS:
        rows = manifest.loc[manifest["split"] == split, columns]
        clips = {}
        for clip, label, text, group, size, file, start, end in rows.itertuples(index=False):
            clips[clip] = Clip(clip, int(label), text, str(group), int(size), file, segment_of(start, end))
        order = shard_order(clips)
        names = shard_names(split, len(order), shards)
        plan += [Shard(name, split, [clips[clip] for clip in order[i :: len(names)]]) for i, name in enumerate(names)]
    return plan


def scratch_key(manifest: pd.DataFrame, frames: Frames) -> str:
    """Identifies all that the shards depend on: a run reuses those of an earlier one only if it would write the same."""
    columns = ["clip", "start", "end", "sha256", "label", "class", "group", "split"]
    rows = manifest[columns].astype(str).sort_values("clip").to_numpy().tolist()
    settings = frames.model_dump(include={"fps", "size", "quality", "shards", "on_error", "image_rate"})
    return content_key(RECORDS_VERSION, library_versions(), settings, rows)


def write_missing_shards(
    plan: list[Shard], frames: Frames, clips_dir: Path, folder: Path, workers: int | None, cluster: Workers | None
) -> list[ShardReport]:
    """Writes the shards that `folder` does not hold yet; returns the report of each shard of the plan.

    Raises UserError for a damaged clip where frames.on_error = fail.
    """
    missing = [shard for shard in plan if not ShardReport.path(folder, shard).is_file()]
    clips = [clip for shard in missing for clip in shard.clips]
    segments = [clip for clip in clips if clip.segment is not None]
    total = sum(len(shard.clips) for shard in plan)
    done = total - len(clips) + sum(segment_file(folder, clip.id).is_file() for clip in segments)
    if done:
        say(f"resuming: {done} of {total} clips were decoded by an earlier run")
    encoded = encode_clips([clip for clip in clips if clip.segment is None], frames, clips_dir, workers, cluster)
    with closing(encoded), progress(total=total, initial=done, describe="extract", unit="clip") as bar:
        if segments:
            decode_recordings(segments, frames, clips_dir, folder, workers, cluster, bar)
        for shard in missing:
            report = ShardReport()
            results = _results(shard, encoded, clips_dir, folder, bar)
            write_shard(folder / shard.name, _records(results, report, frames.on_error, clips_dir))
            write_json(ShardReport.path(folder, shard), vars(report))
            for clip in shard.clips:
                if clip.segment is not None:
                    segment_file(folder, clip.id).unlink()
    return [ShardReport.read(folder, shard) for shard in plan]


def _results(
    shard: Shard, encoded: Iterator[EncodedClip | BrokenVideo], clips_dir: Path, folder: Path, bar: tqdm
) -> Iterator[tuple[Clip, EncodedClip | BrokenVideo]]:
    """Each clip of the shard with its frames: of a file from `encoded`, of a segment from the scratch folder."""
    for clip in shard.clips:
        if clip.segment is None:
            yield clip, next(encoded)
            bar.update()
        else:
            yield clip, read_segment(segment_file(folder, clip.id), clips_dir / clip.file)


def _records(
    results: Iterator[tuple[Clip, EncodedClip | BrokenVideo]], report: ShardReport, on_error: str, clips_dir: Path
) -> Iterator[bytes]:
    """Yields a shard's records in order, and fills in its report."""
    for clip, result in results:
        why = complaint(result)
        if why and on_error == "fail":
            raise damaged_error(clips_dir, clip, why)
        if isinstance(result, BrokenVideo) or (why and on_error == "skip"):
            report.skipped[clip.id] = why
        else:
            yield serialize_clip(clip.id, clip.label, clip.text, clip.group, result.jpegs, result.timestamps)
            report.frames[clip.id] = len(result.jpegs)
            if result.damage:
                report.damaged[clip.id] = {**result.damage._asdict(), "complaint": why}
