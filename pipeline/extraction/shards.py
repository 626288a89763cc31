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
from pipeline.console import UserError, progress, say
from pipeline.extraction.decoding import Clip, encode_clips
from pipeline.files import content_key, read_json, write_json
from pipeline.settings import Frames
from pipeline.sources.manifest import SPLITS
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
    columns = ["clip", "label", "class", "group", "bytes"]
    plan = []
    for split in SPLITS:
        rows = manifest.loc[manifest["split"] == split, columns]
        clips = {row[0]: Clip(row[0], int(row[1]), row[2], str(row[3]), int(row[4])) for row in rows.itertuples(index=False)}
        order = shard_order(clips)
        names = shard_names(split, len(order), shards)
        plan += [Shard(name, split, [clips[clip] for clip in order[i :: len(names)]]) for i, name in enumerate(names)]
    return plan


def scratch_key(manifest: pd.DataFrame, frames: Frames) -> str:
    """Identifies all that the shards depend on: a run reuses those of an earlier one only if it would write the same."""
    columns = ["clip", "sha256", "label", "class", "group", "split"]
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
    total = sum(len(shard.clips) for shard in plan)
    done = total - len(clips)
    if done:
        say(f"resuming: {done} of {total} clips were decoded by an earlier run")
    encoded = encode_clips(clips, frames, clips_dir, workers, cluster)
    with closing(encoded), progress(total=total, initial=done, describe="extract", unit="clip") as bar:
        for shard in missing:
            report = ShardReport()
            write_shard(folder / shard.name, _records(shard, encoded, report, bar, frames.on_error, clips_dir))
            write_json(ShardReport.path(folder, shard), vars(report))
    return [ShardReport.read(folder, shard) for shard in plan]


def _records(
    shard: Shard,
    encoded: Iterator[EncodedClip | BrokenVideo],
    report: ShardReport,
    bar: tqdm,
    on_error: str,
    clips_dir: Path,
) -> Iterator[bytes]:
    """Yields the shard's records in order, and fills in its report."""
    for clip in shard.clips:
        result = next(encoded)
        broken = isinstance(result, BrokenVideo)
        complaint = result.reason if broken else str(result.damage or "")
        if complaint and on_error == "fail":
            advice = "replace the file, or set frames.on_error to keep or skip"
            raise UserError(f"{clips_dir / clip.id}: {complaint}", advice=advice)
        if broken or (complaint and on_error == "skip"):
            report.skipped[clip.id] = complaint
        else:
            yield serialize_clip(clip.id, clip.label, clip.text, clip.group, result.jpegs, result.timestamps)
            report.frames[clip.id] = len(result.jpegs)
            if result.damage:
                report.damaged[clip.id] = {**result.damage._asdict(), "complaint": complaint}
        bar.update()
