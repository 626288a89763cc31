"""Downloads the chosen clips, from an archive (only the members needed are fetched) or a folder, and writes their manifest.

Invariants: data/clips and data/manifest.csv are written whole or not at all, the manifest last. The same source, seed and
configuration give the same bytes. What was fetched from an archive is kept in `.cache/clips` across kills, errors and DVC, and is
not fetched again.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pandas

from pipeline.artifacts import CLIPS, MANIFEST
from pipeline.check_results import CheckResult
from pipeline.console import RESUMES, run_command, say
from pipeline.files import atomic_folder
from pipeline.params import load_params
from pipeline.settings import Data, Speed
from pipeline.sources.kinds import open_source
from pipeline.sources.left_out import few
from pipeline.sources.manifest import SPLITS, duplicated_across, leaking_groups, write_manifest
from pipeline.sources.placing import place_clips
from pipeline.sources.plan import plan_clips
from pipeline.sources.source import distinct_files


@dataclass(frozen=True)
class Downloaded:
    """The result of a download.

    Attributes:
      manifest: as written.
      fetched, reused: bytes of clips that were fetched, and that were there.
      notes: how the source was understood.
      retries: number of requests that were repeated.
    """

    manifest: pandas.DataFrame
    fetched: int
    reused: int
    notes: list[CheckResult]
    retries: int = 0


def run(data: Data, seed: int, speed: Speed, clips: Path = CLIPS, manifest: Path = MANIFEST) -> Downloaded:
    """Writes the folder `clips` and the file `manifest` from the source that `data` names.

    seed: draws the splits. Raises UserError for what the user can fix: an unreadable source, unknown classes, a bad split.
    """
    with open_source(data, speed) as source:
        plan = plan_clips(source, data, seed)
        for note in plan.notes:
            say(note.message if note.status == "ok" else f"{note.status}: {note.message}; {note.advice}")
        stored = source.fetch(plan.clips)
        retries = source.retries
    with atomic_folder(clips) as part:
        table = plan.manifest(place_clips(plan.clips, stored, part, speed.download_connections))
        Path(manifest).unlink(missing_ok=True)  # new clips must never be next to an old manifest
    write_manifest(table, manifest)
    fetched = sum(clip.size for clip in distinct_files(plan.clips) if not stored.fetched.isdisjoint(clip.files))
    return Downloaded(table, fetched, plan.bytes - fetched, plan.notes, retries)


def summary(downloaded: Downloaded) -> str:
    """The table printed at the end: classes, clips and groups per split; bytes; what is on both sides of the split."""
    manifest = downloaded.manifest
    lines = [f"{'':<12}{'classes':>8}{'clips':>8}{'groups':>8}{'size':>14}"]
    for name, rows in [*((split, manifest[manifest["split"] == split]) for split in SPLITS), ("together", manifest)]:
        size = _megabytes(int(rows.drop_duplicates("file")["bytes"].sum()))
        lines.append(f"{name:<12}{rows['class'].nunique():>8}{len(rows):>8}{rows['group'].nunique():>8}{size:>14}")
    retries = f", {downloaded.retries} requests repeated" if downloaded.retries else ""
    lines.append(f"fetched {_megabytes(downloaded.fetched)}, already there {_megabytes(downloaded.reused)}{retries}")
    lines.append(f"groups both in test and in training or validation: {_some(leaking_groups(manifest))}")
    pairs = [f"{train} = {test}" for train, test in duplicated_across(manifest)]
    lines.append(f"identical clips in test and in training or validation: {_some(pairs)}")
    return "\n".join(lines)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _some(names: list[str]) -> str:
    return f"{len(names)} ({few(names)})" if names else "none"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__.splitlines()[0])
    parser.epilog = "Reads seed, data and speed from params.yaml; writes data/clips and data/manifest.csv."
    parser.parse_args()
    params = load_params()
    say(summary(run(params.data, params.seed, params.speed)))


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
