"""Downloads the chosen clips, from an archive (only the members needed are fetched) or a folder, and writes their manifest.

Invariants: data/clips and data/manifest.csv are written whole or not at all, the manifest last. The same source, seed and
configuration give the same bytes. Clips that show the same are looked for among the chosen ones, once they are here; in a grouped
split they share a group, so it is drawn again until nothing new is found. What was fetched from an archive is kept in
`.cache/clips` across kills, errors and DVC, and is not fetched again.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas

from pipeline.artifacts import CLIPS, MANIFEST
from pipeline.check_results import CheckResult
from pipeline.console import RESUMES, run_command, say
from pipeline.duplicates.fingerprints import Fingerprint, fingerprints
from pipeline.duplicates.search import find_duplicates
from pipeline.files import atomic_folder
from pipeline.params import load_params
from pipeline.settings import Data, Speed
from pipeline.sources.imbalance import imbalance
from pipeline.sources.kinds import open_source
from pipeline.sources.left_out import few
from pipeline.sources.manifest import SPLITS, duplicated_across, leaking_groups, write_manifest
from pipeline.sources.placing import place_clips
from pipeline.sources.plan import Plan, near_duplicates, plan_clips
from pipeline.sources.source import Source, Stored, distinct_files
from pipeline.sources.twins import united
from pipeline.video.decode import BrokenVideo


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
        plan, stored, fetched, same = _settled(source, data, seed, speed)
        retries = source.retries
    with atomic_folder(clips) as part:
        hashes = place_clips(plan.clips, stored, part, speed.download_connections)
        if data.split.duplicates != "ignore":
            same = united([*same, *_identical(hashes)])
        table = plan.manifest(hashes, same)
        Path(manifest).unlink(missing_ok=True)  # new clips must never be next to an old manifest
    write_manifest(table, manifest)
    of_train = table.loc[table["split"] == "train", "class"].value_counts()
    rare = imbalance({name: int(of_train.get(name, 0)) for name in plan.classes}, "training clips")
    if rare:
        say(f"warning: {rare}; set finetune.balance=weight or add clips, and read macro F1, not only accuracy")
    across = [] if data.split.duplicates == "ignore" else duplicated_across(table)
    if across:
        if plan.merges:  # then only segments of one recording are left, to which the listing gives groups of their own
            advice = "give segments that overlap one group in the listing"
        else:
            advice = (
                "data.split.scheme=grouped with data.split.duplicates=group keeps identical files and near-duplicates on one side"
            )
        say(f"warning: clips that show the same are in test and in training or validation: {_pairs(across)}; {advice}")
    new = sum(clip.size for clip in distinct_files(plan.clips) if not fetched.isdisjoint(clip.files))
    return Downloaded(table, new, plan.bytes - new, plan.notes, retries)


def _settled(source: Source, data: Data, seed: int, speed: Speed) -> tuple[Plan, Stored, set[str], list[list[str]]]:
    """The plan in which no near-duplicates are left to merge, its clips, the files fetched for it, and the sets of sources.

    Ends, because sets only grow: a plan that chooses other clips can only add to them.
    """
    known: dict[str, Fingerprint | BrokenVideo] = {}
    same: list[list[str]] = []
    plan = plan_clips(source, data, seed)
    said = _say_new(plan.notes, [])
    stored = source.fetch(plan.clips)
    fetched = set(stored.fetched)
    while data.split.duplicates != "ignore":
        new = {clip.source: stored.folder / clip.source for clip in distinct_files(plan.clips) if clip.source not in known}
        known |= fingerprints(new, speed.decode_workers)
        usable = {name: one for name, one in known.items() if isinstance(one, Fingerprint)}
        found = united([*same, *(one.members for one in find_duplicates(usable))])
        if found == same:
            break
        same = found
        if not plan.merges:
            identical = _identical({name: one.sha256 for name, one in usable.items()})
            _say_new(near_duplicates(same, identical).notes(plan.clips, grouped=False), said)
            break
        plan = plan_clips(source, data, seed, same)
        said = _say_new(plan.notes, said)
        if all(clip.source in known for clip in plan.clips):
            break
        stored = source.fetch(plan.clips)
        fetched |= stored.fetched
    return plan, stored, fetched, same


def _say_new(notes: list[CheckResult], said: list[CheckResult]) -> list[CheckResult]:
    for note in notes:
        if note not in said:
            say(note.message if note.status == "ok" else f"{note.status}: {note.message}; {note.advice}")
    return [*said, *notes]


def _identical(hashes: Mapping[str, str]) -> list[list[str]]:
    """Sets of sources of equal SHA-256."""
    found: dict[str, list[str]] = defaultdict(list)
    for source, digest in sorted(hashes.items()):
        found[digest].append(source)
    return [sources for sources in found.values() if len(sources) > 1]


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
    lines.append(f"clips that show the same in test and in training or validation: {_pairs(duplicated_across(manifest))}")
    return "\n".join(lines)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _pairs(pairs: list[tuple[str, str]]) -> str:
    return _some([f"{train} = {test}" for train, test in pairs])


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
