"""Decodes every clip once into TFRecords of JPEG frames, so that no later stage opens a video.

Invariants: frames depend only on the clip's bytes and on frames.fps, size, quality and image_rate, not on the number or the
location of workers (`cluster`). `out_dir` is written atomically, with every shard and frames.json. Memory use does not grow with
the data set. frames.json lists every damaged and every skipped clip. Finished shards are kept in a scratch folder, so that a
killed run resumes.
"""

import argparse
import shutil
import statistics
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import joblib
import pandas as pd
from filelock import FileLock
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.artifacts import (
    CLIPS,
    FRAMES,
    MANIFEST,
    DamagedClip,
    FrameCounts,
    FramesSummary,
    SkippedClip,
    SplitFrames,
)
from pipeline.cluster import LOCAL, Call, Workers, open_cluster
from pipeline.console import RESUMES, UserError, progress, run_command, say
from pipeline.files import atomic_folder, content_key, read_json, scratch, write_json
from pipeline.params import load_params
from pipeline.settings import Cluster, Frames
from pipeline.sources.manifest import SPLITS, read_manifest
from pipeline.video.damage_report import damage_report
from pipeline.video.decode import BrokenVideo, EncodedClip, encode_clip
from pipeline.video.images import encode_images

RECORDS_VERSION = 2  # raise when the records' content changes, so that shards of a killed older run are not taken over
CLIPS_IN_FLIGHT = 16  # a worker: enough that workers seldom wait at the end of a batch, few enough to hold in memory
BYTES_IN_FLIGHT = 256 * 2**20  # of videos in a batch; their JPEG frames take about as much


class Clip(NamedTuple):
    """A row of the manifest, as far as it goes into the records."""

    id: str
    label: int
    text: str
    group: str
    bytes: int


class Shard(NamedTuple):
    """One TFRecord file and the clips it is to hold."""

    name: str
    split: str
    clips: list[Clip]

    @property
    def report(self) -> str:
        """The file beside it in the scratch folder that says what it holds; written last, so that it marks a finished shard."""
        return f"{self.name}.json"


def plan_shards(manifest: pd.DataFrame, shards: int) -> list[Shard]:
    """Every clip's place: splits in order, in each the clips by the hash of their ids, dealt out to the shards in turn."""
    from pipeline.video.records import shard_names, shard_order  # brings TensorFlow

    columns = ["clip", "label", "class", "group", "bytes"]
    plan = []
    for split in SPLITS:
        rows = manifest.loc[manifest["split"] == split, columns]
        clips = {row[0]: Clip(row[0], int(row[1]), row[2], str(row[3]), int(row[4])) for row in rows.itertuples(index=False)}
        order = shard_order(clips)
        names = shard_names(split, len(order), shards)
        plan += [Shard(name, split, [clips[clip] for clip in order[i :: len(names)]]) for i, name in enumerate(names)]
    return plan


def _batches(clips: list[Clip], workers: int) -> Iterator[list[Clip]]:
    """Runs of clips that may be in memory together, as JPEG frames."""
    batch: list[Clip] = []
    size = 0
    for clip in clips:
        if batch and (len(batch) == workers * CLIPS_IN_FLIGHT or size + clip.bytes > BYTES_IN_FLIGHT):
            yield batch
            batch, size = [], 0
        batch.append(clip)
        size += clip.bytes
    if batch:
        yield batch


def encode_any(path: Path, fps: float, size: int, quality: int, image_rate: float | None) -> EncodedClip | BrokenVideo:
    """A clip that is a video file, or a folder of images: what a worker process does for one clip."""
    if not path.is_dir():
        return encode_clip(path, fps, size, quality)
    if image_rate is None:
        return BrokenVideo(path, "is a folder of images, and frames.image_rate does not say how many a second")
    return encode_images(path, image_rate, fps, size, quality)


def encode_clips(
    clips: list[Clip], params: Frames, clips_dir: Path, workers: int | None = None, cluster: Workers | None = None
) -> Iterator[EncodedClip | BrokenVideo]:
    """Decodes in parallel, yields in order: on a cluster, or else in joblib's processes on this machine.

    joblib runs ahead of a slow reader (or of one slow clip) without bound, so it gets the clips in batches.
    """
    arguments = (params.fps, params.size, params.quality, params.image_rate)
    if cluster is not None:
        folder = clips_dir.resolve()  # workers have working directories of their own
        calls = (Call((folder / clip.id, *arguments), clip.bytes, clip.id) for clip in clips)
        yield from cluster.in_order(encode_any, calls, ahead=CLIPS_IN_FLIGHT, most_bytes=BYTES_IN_FLIGHT)
        return
    workers = min(workers or joblib.cpu_count(), len(clips))
    if workers <= 1:
        yield from (encode_any(clips_dir / clip.id, *arguments) for clip in clips)
        return
    task = joblib.delayed(encode_any)
    with joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch="all") as parallel:
        for batch in _batches(clips, workers):
            try:
                results = parallel(task(clips_dir / clip.id, *arguments) for clip in batch)
                for result in results:
                    try:
                        yield result
                    except GeneratorExit:
                        deque(results, maxlen=0)  # joblib trips over its own threads when it is left in the middle of a batch
                        raise
            except TerminatedWorkerError:
                raise UserError(
                    f"a decoding process was killed (no memory left, or a video that crashes the decoder) between {batch[0].id} "
                    f"and {batch[-1].id}",
                    advice="run again, with speed.decode_workers=1 if it recurs; finished shards are kept",
                ) from None


def _records(
    shard: Shard, encoded: Iterator[EncodedClip | BrokenVideo], report: dict, bar, on_error: str, clips_dir: Path
) -> Iterator[bytes]:
    """A shard's records in order; notes in `report` what became of each clip."""
    from pipeline.video.records import serialize_clip

    for clip in shard.clips:
        result = next(encoded)
        broken = isinstance(result, BrokenVideo)
        complaint = result.reason if broken else str(result.damage or "")
        if complaint and on_error == "fail":
            advice = "replace the file, or set frames.on_error to keep or skip"
            raise UserError(f"{clips_dir / clip.id}: {complaint}", advice=advice)
        if broken or (complaint and on_error == "skip"):
            report["skipped"][clip.id] = complaint
        else:
            yield serialize_clip(clip.id, clip.label, clip.text, clip.group, result.jpegs, result.timestamps)
            report["frames"][clip.id] = len(result.jpegs)
            if result.damage:
                report["damaged"][clip.id] = {**result.damage._asdict(), "complaint": complaint}
        bar.update()


@contextmanager
def _quiet_exit() -> Iterator[None]:
    """joblib warns of the tasks it cancels when an error ends the work; the error says enough."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tasks which were still being processed", category=UserWarning)
        yield


def _write_missing(
    plan: list[Shard], params: Frames, clips_dir: Path, folder: Path, workers: int | None, cluster: Workers | None
) -> None:
    """Writes the shards that `folder` does not hold yet."""
    from pipeline.video.records import write_shard

    done = [shard for shard in plan if (folder / shard.report).is_file()]
    missing = [shard for shard in plan if shard not in done]
    clips = [clip for shard in missing for clip in shard.clips]
    total = sum(len(shard.clips) for shard in plan)
    if done:
        say(f"{total - len(clips)} of {total} clips were decoded by an earlier run that did not finish")
    encoded = encode_clips(clips, params, clips_dir, workers, cluster)
    with (
        _quiet_exit(),
        closing(encoded),
        progress(total=total, initial=total - len(clips), describe="extract", unit="clip") as bar,
    ):
        for shard in missing:
            report: dict = {"frames": {}, "skipped": {}, "damaged": {}}
            write_shard(folder / shard.name, _records(shard, encoded, report, bar, params.on_error, clips_dir))
            write_json(folder / shard.report, report)


def _check_classes(plan: list[Shard], kept: set[str], skipped: list[SkippedClip]) -> None:
    """No class may vanish from a split: what is left would be another problem, with the same labels."""
    hint = f"first reason: {skipped[0].clip}: {skipped[0].reason}" if skipped else ""
    if not kept:
        raise UserError(f"none of the {len(skipped)} clips can be decoded; {hint}")
    for split, shards in groupby(plan, key=lambda shard: shard.split):
        clips = [clip for shard in shards for clip in shard.clips]
        lost = sorted({clip.text for clip in clips} - {clip.text for clip in clips if clip.id in kept})
        if lost:
            names = ", ".join(lost)
            raise UserError(f"no {split} clip of {names} can be decoded; {hint}; replace files or drop the class (data.classes)")


def _summary(plan: list[Shard], classes: list[str], params: Frames, folder: Path) -> FramesSummary:
    reports = {shard.name: read_json(folder / shard.report) for shard in plan}
    frames = {clip: count for report in reports.values() for clip, count in report["frames"].items()}
    skipped = [
        SkippedClip(clip=clip, split=shard.split, reason=reason)
        for shard in plan
        for clip, reason in sorted(reports[shard.name]["skipped"].items())
    ]
    damaged = [
        DamagedClip(clip=clip, split=shard.split, **damage)
        for shard in plan
        for clip, damage in sorted(reports[shard.name]["damaged"].items())
    ]
    _check_classes(plan, set(frames), skipped)
    splits = {}
    for split in SPLITS:
        shards = [shard for shard in plan if shard.split == split]
        clips = [clip for shard in shards for clip in shard.clips if clip.id in frames]
        counts = [frames[clip.id] for clip in clips]
        per_class = Counter(clip.text for clip in clips)
        typical = FrameCounts(min=min(counts), median=statistics.median(counts), max=max(counts)) if counts else None
        splits[split] = SplitFrames(
            clips=len(clips),
            frames=sum(counts),
            groups=len({clip.group for clip in clips}),
            bytes=sum((folder / shard.name).stat().st_size for shard in shards),
            frames_per_clip=typical,
            per_class={name: per_class[name] for name in classes},
            files=[shard.name for shard in shards],
        )
    return FramesSummary(
        classes=classes,
        fps=params.fps,
        size=params.size,
        quality=params.quality,
        splits=splits,
        skipped=skipped,
        damaged=damaged,
    )


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system has no hard links or is another one."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def run(
    params: Frames,
    manifest: pd.DataFrame,
    clips_dir: Path,
    out_dir: Path,
    workers: int | None = None,
    cluster: Cluster = LOCAL,
) -> FramesSummary:
    """Decodes the manifest's clips from `clips_dir` into `out_dir`; returns what it writes to `out_dir`/frames.json.

    frames.on_error decides how damaged clips are handled: use the frames that decode (keep), skip the clip (skip), or raise
    UserError (fail). With keep, a clip of which less than half can be decoded is skipped.
    Raises UserError also when clips are absent, or when a class has no clip left in a split.
    """
    clips_dir, out_dir = Path(clips_dir), Path(out_dir)
    absent = [clip for clip in manifest["clip"] if not (clips_dir / clip).exists()]
    if absent:
        raise UserError(f"{clips_dir / absent[0]}: not found (absent clips: {len(absent)}); run `dvc repro -f download`")
    classes = sorted(set(manifest["class"]))
    plan = plan_shards(manifest, params.shards)
    rows = manifest[["clip", "sha256", "label", "class", "group", "split"]].astype(str).sort_values("clip").to_numpy().tolist()
    decides = {"fps", "size", "quality", "shards", "on_error", "image_rate"}
    key = content_key(RECORDS_VERSION, cv2.__version__, av.library_versions, params.model_dump(include=decides), rows)
    folder = scratch("frames", key)
    with open_cluster(cluster) as opened, FileLock(folder.with_suffix(".lock")):  # another experiment may be at the same clips
        folder.mkdir(exist_ok=True)
        _write_missing(plan, params, clips_dir, folder, workers, opened)
        summary = _summary(plan, classes, params, folder)
        with atomic_folder(out_dir) as part:
            for shard in plan:
                _link(folder / shard.name, part / shard.name)
            summary.write(part / "frames.json")
        shutil.rmtree(folder)
    for line in damage_report(summary, len(manifest)):
        say(line)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.extract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (default: %(default)s)")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="their list (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=FRAMES, help="folder to make (default: %(default)s)")
    arguments = parser.parse_args()
    params = load_params()
    run(
        params.frames,
        read_manifest(arguments.manifest),
        arguments.clips,
        arguments.out,
        params.speed.decode_workers,
        params.cluster,
    )


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
