"""Decodes every clip once into TFRecords of JPEG frames, so that no later stage opens a video.

A recording is decoded once for all clips that are segments of it.

Invariants: frames depend only on the clip's bytes and on frames.fps, size, quality and image_rate, not on the number or the
location of workers (`cluster`). The output folder is written atomically, with every shard and frames.json, which lists every
damaged and every skipped clip. Memory use does not grow with the data set, nor with the length of recordings. A killed run
resumes: finished shards and segments are kept in a scratch folder.
"""

import argparse
import shutil
from pathlib import Path

import pandas as pd

from pipeline.artifacts import CLIPS, FRAMES, MANIFEST, FramesSummary
from pipeline.cluster import LOCAL, open_cluster
from pipeline.console import RESUMES, UserError, run_command, say
from pipeline.extraction.shards import plan_shards, scratch_key, write_missing_shards
from pipeline.extraction.summary import report_lines, summarise
from pipeline.files import atomic_folder, resumable_scratch
from pipeline.params import load_params
from pipeline.settings import Cluster, Frames
from pipeline.sources.manifest import read_manifest


def run(
    frames: Frames,
    manifest: pd.DataFrame,
    clips_dir: Path,
    out_dir: Path,
    workers: int | None = None,
    cluster: Cluster = LOCAL,
) -> FramesSummary:
    """Decodes the manifest's clips from `clips_dir` into `out_dir`; returns what it writes to `out_dir`/frames.json.

    frames.on_error decides how damaged clips are handled: use the frames that decode (keep), skip the clip (skip), or raise
    UserError (fail). With keep, a clip of which less than half can be decoded is skipped.
    workers: decoding processes on this machine; None: one per core.
    Raises UserError also when clips are absent, or when a class has no clip left in a split.
    """
    clips_dir, out_dir = Path(clips_dir), Path(out_dir)
    _check_clips(manifest, clips_dir)
    plan = plan_shards(manifest, frames.shards)
    with open_cluster(cluster) as opened, resumable_scratch("frames", scratch_key(manifest, frames)) as folder:
        reports = write_missing_shards(plan, frames, clips_dir, folder, workers, opened)
        summary = summarise(plan, reports, sorted(set(manifest["class"])), frames, folder)
        with atomic_folder(out_dir) as part:
            for shard in plan:
                _link(folder / shard.name, part / shard.name)
            summary.write(part / "frames.json")
    for line in report_lines(summary, len(manifest)):
        say(line)
    return summary


def _check_clips(manifest: pd.DataFrame, clips_dir: Path) -> None:
    absent = [file for file in manifest["file"].unique() if not (clips_dir / file).exists()]
    if absent:
        message = f"{clips_dir / absent[0]}: not found (absent files: {len(absent)})"
        raise UserError(message, advice="run `dvc repro -f download`")


def _link(source: Path, target: Path) -> None:
    """Hard-links a file, or copies it where the file system does not support that."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.extract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, default=CLIPS, help="folder of the clips (default: %(default)s)")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="manifest of the clips (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=FRAMES, help="folder to write (default: %(default)s)")
    options = parser.parse_args()
    params, manifest = load_params(), read_manifest(options.manifest)
    run(params.frames, manifest, options.clips, options.out, params.speed.decode_workers, params.cluster)


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
