"""Download: the chosen clips and their manifest, from an archive (of which only the members needed are fetched) or a folder.

Always: data/clips and data/manifest.csv appear whole or not at all, and the manifest last. From one source, seed and
configuration they are the same, byte for byte. What was fetched from an archive survives a kill, an error and DVC in
`.cache/clips`, and is not fetched again.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas

from stages.console import UserError, progress, run_command, say
from stages.files import content_key, scratch, sha256, whole_folder
from stages.params import Data, load_params
from stages.sources.archives import Archive, archive_clips
from stages.sources.classes import choose_classes
from stages.sources.folders import folder_clips, links_may_be_shared, listed_clips, place
from stages.sources.manifest import COLUMNS, SPLITS, duplicated_across, leaking_groups, write_manifest
from stages.sources.naming import VIDEO_SUFFIXES, Clip, Found, identified
from stages.sources.splits import split_clips
from stages.sources.store import Stored, fetch_clips, in_threads

CLIPS = Path("data/clips")
MANIFEST = Path("data/manifest.csv")


@dataclass(frozen=True)
class Downloaded:
    """What a download made. manifest: as written. fetched, reused: bytes of clips that came, and that were there. ignored: other
    files.
    """

    manifest: pandas.DataFrame
    fetched: int
    reused: int
    ignored: int
    retried: int = 0


def _planned(found: Found, data: Data, seed: int) -> tuple[list[str], dict[str, list[Clip]]]:
    """The chosen classes, sorted, and their clips by split."""
    if not found.clips:
        raise UserError(
            f"{data.archive or data.listing or data.folder}: no videos in class folders ({found.ignored} other files); "
            f"expected <class>/<video> with a suffix of {', '.join(VIDEO_SUFFIXES)}"
        )
    if found.splits and data.split.scheme != "given":
        say(f"the split column of {data.listing} is not used, because data.split.scheme={data.split.scheme}")
    classes = choose_classes({clip.category for clip in found.clips}, data.num_classes, data.classes, found.empty)
    clips = identified(clip for clip in found.clips if clip.category in classes)
    return classes, split_clips(clips, data.split, seed)


def _manifest(classes: list[str], parts: dict[str, list[Clip]], hashes: dict[str, str]) -> pandas.DataFrame:
    """One row a clip; hashes by `Clip.source`."""
    rows = [
        (clip.clip, clip.category, classes.index(clip.category), clip.group, split, clip.source, clip.size, hashes[clip.source])
        for split, clips in parts.items()
        for clip in clips
    ]
    return pandas.DataFrame(sorted(rows), columns=list(COLUMNS)).astype(COLUMNS)


def _place_all(
    clips: Sequence[Clip], source: Path, target: Path, hashes: dict[str, str], link: bool, workers: int
) -> dict[str, str]:
    """Puts every clip of `source` at its name under `target`; returns the SHA-256 by `Clip.source`, computed where `hashes` lacks
    it.
    """
    with progress(total=len(clips), describe="placing", unit="clip") as bar:

        def put(clip: Clip) -> str:
            copied = place(source / clip.source, target / clip.clip, link)
            digest = hashes.get(clip.source) or copied or sha256(target / clip.clip)
            bar.update()
            return digest

        return {clip.source: digest for clip, digest in in_threads(put, clips, workers).items()}


def run(data: Data, seed: int, clips: Path = CLIPS, manifest: Path = MANIFEST) -> Downloaded:
    """Makes the folder `clips` and the file `manifest` from the source that `data` names.

    seed: draws the splits. Raises UserError for what the user can mend: a source that cannot be read, a class or split that does
    not exist.
    """
    if data.split.scheme == "given" and data.listing is None:
        raise UserError("data.split.scheme=given takes the splits from data.listing, which is not set")
    if data.archive is None:
        found = listed_clips(data.folder, data.listing) if data.listing else folder_clips(data.folder)
        classes, parts = _planned(found, data, seed)
        stored, retried = Stored({}, frozenset(), frozenset()), 0
        source, link = Path(data.folder).expanduser(), links_may_be_shared()
    else:
        with Archive(data.archive, data.retries, data.timeout) as archive:
            found = archive_clips(archive)
            classes, parts = _planned(found, data, seed)
            source, link = scratch("clips", content_key(data.archive)), True
            stored = fetch_clips(archive, [clip for split in SPLITS for clip in parts[split]], source, data.workers)
            retried = archive.tries
    wanted = [clip for split in SPLITS for clip in parts[split]]
    with whole_folder(clips) as part:
        hashes = _place_all(wanted, source, part, stored.sha256, link, data.workers)
        table = _manifest(classes, parts, hashes)
        # The manifest vouches for the clips: an old one must not stand beside new clips, should the next line be the last.
        Path(manifest).unlink(missing_ok=True)
    write_manifest(table, manifest)
    fetched = sum(clip.size for clip in wanted if clip.source in stored.fetched)
    return Downloaded(table, fetched, sum(clip.size for clip in wanted) - fetched, found.ignored, retried)


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
    there = f"already there {_bytes(downloaded.reused)}{again}; {downloaded.ignored} other files ignored"
    lines.append(f"fetched {_bytes(downloaded.fetched)}, {there}")
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
    say(summary(run(params.data, params.seed)))


if __name__ == "__main__":
    run_command(main)
