"""Download: the chosen clips and their manifest, from an archive (of which only the members needed are fetched) or a folder.

Invariants: data/clips and data/manifest.csv appear whole or not at all, and the manifest last. From one source, seed and
configuration they are the same, byte for byte. What was fetched from an archive survives a kill, an error and DVC in
`.cache/clips`, and is not fetched again.
"""

import argparse
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas

from pipeline.artifacts import CLIPS, MANIFEST
from pipeline.console import RESUMES, UserError, progress, run_command, say
from pipeline.files import atomic_folder, sha256
from pipeline.params import load_params
from pipeline.settings import Data, Speed
from pipeline.sources.folders import place
from pipeline.sources.manifest import COLUMNS, SPLITS, duplicated_across, leaking_groups, write_manifest
from pipeline.sources.naming import Clip
from pipeline.sources.plan import Plan, plan_clips
from pipeline.sources.source import clip_digest, open_source
from pipeline.sources.store import Stored, in_threads


@dataclass(frozen=True)
class Downloaded:
    """What a download made. manifest: as written. fetched, reused: bytes of clips that came, and that were there.
    lines: how the source was understood. retried: requests made again.
    """

    manifest: pandas.DataFrame
    fetched: int
    reused: int
    lines: list[str]
    retried: int = 0


def _manifest(plan: Plan, hashes: dict[str, str]) -> pandas.DataFrame:
    """One row a clip; hashes by `Clip.source`."""
    labels = {name: label for label, name in enumerate(plan.classes)}
    rows = [
        (clip.clip, clip.category, labels[clip.category], clip.group, split, clip.source, clip.size, hashes[clip.source])
        for split, clips in plan.parts.items()
        for clip in clips
    ]
    return pandas.DataFrame(sorted(rows), columns=list(COLUMNS)).astype(COLUMNS)


def _place_all(clips: Sequence[Clip], stored: Stored, target: Path, workers: int) -> dict[str, str]:
    """Puts every clip at its name under `target`, a folder of images as a folder; returns the SHA-256 by `Clip.source`."""
    with progress(total=len(clips), describe="placing", unit="clip") as bar:

        def put(clip: Clip) -> str:
            hashes = dict.fromkeys(clip.files)
            for file in clip.files:
                name = f"{clip.clip}/{file[len(clip.source) + 1 :]}" if clip.images else clip.clip
                hashes[file] = _place(stored, file, target / name)
            bar.update()
            return stored.sha256.get(clip.source) or clip_digest(clip, lambda file: hashes[file] or sha256(stored.folder / file))

        return {clip.source: digest for clip, digest in in_threads(put, clips, workers).items()}


def _place(stored: Stored, file: str, target: Path) -> str | None:
    """Places one file; returns its SHA-256 where it is known. Raises UserError naming the file where it cannot be read."""
    try:
        copied = place(stored.folder / file, target, stored.link)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the disk's, and said where it is
        raise UserError(f"{stored.folder / file}: {error.strerror}", advice="mend it, or take it out") from error
    return stored.sha256.get(file) or copied


def run(data: Data, seed: int, speed: Speed, clips: Path = CLIPS, manifest: Path = MANIFEST) -> Downloaded:
    """Makes the folder `clips` and the file `manifest` from the source that `data` names.

    seed: draws the splits. Raises UserError for what the user can mend: a source that cannot be read, a class or split that does
    not exist.
    """
    if data.watch.startswith("~"):  # DVC would say so too, but only after the stage has run
        advice = f"give data.folder or data.archive as {Path(data.watch).expanduser()}"
        raise UserError(f"data.watch = {data.watch}: DVC does not expand ~", advice=advice)
    with open_source(data, speed) as source:
        plan = plan_clips(source, data, seed)
        for line in plan.lines:
            say(line)
        stored = source.fetch(plan.clips)
        retried = source.tries
    with atomic_folder(clips) as part:
        hashes = _place_all(plan.clips, stored, part, speed.download_connections)
        table = _manifest(plan, hashes)
        # The manifest vouches for the clips: an old one must not stand beside new clips, should the next line be the last.
        Path(manifest).unlink(missing_ok=True)
    write_manifest(table, manifest)
    fetched = sum(clip.size for clip in plan.clips if not stored.fetched.isdisjoint(clip.files))
    return Downloaded(table, fetched, sum(clip.size for clip in plan.clips) - fetched, plan.lines, retried)


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def summary(downloaded: Downloaded) -> str:
    """The table printed at the end: classes, clips and groups a split; bytes; what is on both sides of the split."""
    manifest = downloaded.manifest
    lines = [f"{'':<12}{'classes':>8}{'clips':>8}{'groups':>8}{'size':>14}"]
    for name, rows in [*((split, manifest[manifest["split"] == split]) for split in SPLITS), ("together", manifest)]:
        size = _bytes(int(rows["bytes"].sum()))
        lines.append(f"{name:<12}{rows['class'].nunique():>8}{len(rows):>8}{rows['group'].nunique():>8}{size:>14}")
    again = f", {downloaded.retried} tries made again" if downloaded.retried else ""
    lines.append(f"fetched {_bytes(downloaded.fetched)}, already there {_bytes(downloaded.reused)}{again}")
    leaks = leaking_groups(manifest)
    lines.append(f"groups both in test and in training or validation: {_some(leaks)}")
    pairs = [f"{train} = {test}" for train, test in duplicated_across(manifest)]
    lines.append(f"identical clips in test and in training or validation: {_some(pairs)}")
    return "\n".join(lines)


def _some(names: list[str]) -> str:
    return "none" if not names else f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__.splitlines()[0])
    parser.epilog = "Reads seed and data from params.yaml; writes data/clips and data/manifest.csv."
    parser.parse_args()
    params = load_params()
    say(summary(run(params.data, params.seed, params.speed)))


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
