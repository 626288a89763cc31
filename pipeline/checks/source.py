"""Checks of `data`: which clips download will find, choose and split, found without fetching any."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pipeline.check_results import CheckResult, listed, ok, problem, refused, warning
from pipeline.checks.repository import in_git
from pipeline.console import UserError, without_credentials
from pipeline.settings import Data, Speed
from pipeline.sources.kinds import open_source
from pipeline.sources.paths import missing_advice
from pipeline.sources.plan import Plan, plan_clips
from pipeline.sources.source import Clip, Source, distinct_files
from pipeline.video.decode import BrokenVideo, Probe, probe

PROBED = 5  # clips that are opened to learn how long they are
USUAL_SECONDS = 7.2  # UCF-101's mean (Soomro et al. 2012), for clips that cannot be opened without fetching them


@dataclass(frozen=True)
class Planned:
    """The clips that a run uses, for estimates of its costs.

    clips: number by split. bytes: of all files. seconds: mean length of a clip. between: seconds of recordings that are decoded
    on the way to their segments.
    """

    classes: list[str]
    clips: dict[str, int]
    bytes: int
    seconds: float = USUAL_SECONDS
    between: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.clips.values())

    @property
    def decoded(self) -> float:
        """Seconds of video that are decoded."""
        return self.total * self.seconds + self.between


def check_source(
    data: Data, seed: int, speed: Speed, needed: bool, image_rate: float | None = None
) -> tuple[list[CheckResult], Planned | None]:
    """Checks the source; also returns its clips, None if they cannot be listed.

    A server gets one try, within speed.download_timeout. needed: whether download has to run. image_rate: frames.image_rate.
    """
    try:
        with open_source(data, speed.model_copy(update={"download_retries": 0})) as source:
            plan = plan_clips(source, data, seed)
            probes = _probe(source, plan.clips)
    except UserError as error:
        if needed:
            return [refused("data", error)], None
        return [warning("data", f"{error.message} (not needed now: the clips are here)", error.advice)], None
    planned = _planned(plan, probes, image_rate)
    counts = ", ".join(f"{count} {split}" for split, count in planned.clips.items())
    how = "answers byte ranges: " if source.watch is None else ""
    line = f"{without_credentials(source.name)} {how}{len(plan.classes)} classes, {counts} clips, {planned.bytes / 1e6:,.1f} MB"
    later = [ok("data", "near-duplicates are looked for by download, and their groups merged: the split may change")]
    results = [
        ok("data", line),
        *plan.notes,
        *(later if needed and plan.merges else []),
        *_check_contents(plan, probes, image_rate),
    ]
    return [*results, *_check_paths(data), *_check_watch(data, source), *check_flip(data, plan.classes)], planned


def _probe(source: Source, clips: list[Clip]) -> dict[Clip, Probe | BrokenVideo]:
    """Opens a few evenly chosen clips, of unknown length if there are such; none if they would have to be fetched."""
    clips = distinct_files([clip for clip in clips if _listed_seconds(clip) is None] or clips)
    chosen = clips[:: max(1, len(clips) // PROBED)][:PROBED]
    found: dict[Clip, Probe | BrokenVideo] = {}
    with tempfile.TemporaryDirectory() as folder:
        for clip, path in zip(chosen, source.sample(chosen, Path(folder)), strict=False):
            try:
                found[clip] = probe(path)
            except BrokenVideo as error:
                found[clip] = error
    return found


def _planned(plan: Plan, probes: dict[Clip, Probe | BrokenVideo], image_rate: float | None) -> Planned:
    if any(clip.images for clip in probes):
        seconds = [len(clip.images) / image_rate for clip in probes if image_rate]
    else:
        opened = {clip: found.seconds for clip, found in probes.items() if isinstance(found, Probe) and found.seconds is not None}
        seconds = [length - (clip.segment.start if clip.segment else 0) for clip, length in opened.items()]
    usual = sum(seconds) / len(seconds) if seconds else USUAL_SECONDS
    lengths = [usual if (length := _listed_seconds(clip)) is None else length for clip in plan.clips]
    counts = {split: len(clips) for split, clips in plan.parts.items()}
    return Planned(plan.classes, counts, plan.bytes, fmean(lengths), _seconds_between(plan.clips))


def _listed_seconds(clip: Clip) -> float | None:
    """The length of a segment whose end is listed; None for other clips."""
    return None if clip.segment is None or clip.segment.end is None else clip.segment.end - clip.segment.start


def _seconds_between(clips: list[Clip]) -> float:
    """Seconds of recordings before and between their segments."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for clip in clips:
        if clip.segment is not None:
            start, end = clip.segment
            spans.setdefault(clip.source, []).append((start, start if end is None else end))
    total = 0.0
    for members in spans.values():
        reached = 0.0
        for start, end in sorted(members):
            total += max(0.0, start - reached)
            reached = max(reached, end)
    return total


def _check_contents(plan: Plan, probes: dict[Clip, Probe | BrokenVideo], image_rate: float | None) -> Iterator[CheckResult]:
    if image_rate is None and any(clip.images for clip in plan.clips):
        message = "the clips are folders of images, and frames.image_rate is not set"
        yield problem("data", message, "set it to their images per second, e.g. frames.image_rate=25")
    broken = [f"{clip.source}: {found.reason}" for clip, found in probes.items() if isinstance(found, BrokenVideo)]
    if broken:
        message = f"{len(broken)} of the {len(probes)} clips that were opened cannot be decoded: {broken[0]}"
        yield warning("data", message, "frames.on_error=skip leaves such clips out and lists them, fail stops at the first")


def _check_paths(data: Data) -> Iterator[CheckResult]:
    """Warns of local paths that runs in another directory do not find."""
    listings = data.listing if isinstance(data.listing, list) else [data.listing]
    named = [("archive", data.archive), ("folder", data.folder), *(("listing", name) for name in listings)]
    for key, value in [*named, ("class_names", data.class_names)]:
        if value and "://" not in value and not Path(value).expanduser().is_absolute() and not in_git(value):
            message = f"data.{key} = {value} is relative and not in git, so --temp and --queue runs do not find it"
            yield warning("data", message, f"give it as {Path(value).resolve()}")


def _check_watch(data: Data, source: Source) -> Iterator[CheckResult]:
    """Checks that DVC can watch data.watch, and sees there every change of the source."""
    watched = Path(data.watch)
    if not watched.exists():
        message = f"data.watch = {data.watch} does not exist, and DVC does not run `download` without it"
        otherwise = "set data.watch to the local archive or folder, or to stages/download.py"
        yield problem("data", message, missing_advice(watched, otherwise))
        return
    broken = sorted(str(path) for path in watched.rglob("*") if path.is_symlink() and not path.exists())
    if broken:
        which = f"{len(broken)} broken link{'s' * (len(broken) > 1)} ({listed(broken, 3)})"
        advice = "remove them, or set data.watch=stages/download.py and run `dvc repro -f download` when the videos change"
        yield problem("data", f"data.watch = {data.watch} holds {which}, at which DVC stops before download", advice)
    if source.watch is not None and not watched.samefile(source.watch):
        message = f"data.watch = {data.watch} is not {source.name}, so DVC does not see when that changes"
        yield warning("data", message, f"set data.watch={source.name}")
    listings = data.listing if isinstance(data.listing, list) else [data.listing]
    for key, value in [*(("listing", name) for name in listings), ("class_names", data.class_names)]:
        if value and not Path(value).expanduser().resolve().is_relative_to(watched.resolve()):
            message = f"data.{key} = {value} lies outside data.watch = {data.watch}, so DVC does not see when it changes"
            yield warning("data", message, "keep it in the folder")


def check_flip(data: Data, classes: list[str]) -> list[CheckResult]:
    """Checks that data.flip names existing classes, and mirrors them both ways."""
    if isinstance(data.flip, bool):
        return []
    unknown = sorted({*data.flip, *data.flip.values()} - set(classes))
    if unknown:
        message = f"data.flip names {listed(unknown)}, not among the chosen classes ({listed(classes, 10)})"
        return [problem("data", message, "name only chosen classes in data.flip, or set it to true or false")]
    odd = sorted(one for one, other in data.flip.items() if data.flip.get(other, other) != one)
    if odd:
        message = f"data.flip states that {odd[0]} becomes {data.flip[odd[0]]} in a mirror, but not the other way round"
        return [warning("data", message, f"add {data.flip[odd[0]]}: {odd[0]}, if that is what a mirror does")]
    return []
