"""Whether `data` gives clips: what `download` will find, choose and split, without fetching a clip."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.check_results import CheckResult, listed, ok, problem, refused, warning
from pipeline.checks.repository import in_git
from pipeline.console import UserError, without_credentials
from pipeline.settings import Data, Speed
from pipeline.sources.folders import missing_advice
from pipeline.sources.naming import Clip
from pipeline.sources.plan import plan_clips
from pipeline.sources.source import Source, open_source

PROBED = 5  # clips opened to learn how long and how large they are
# UCF-101's (mean length from Soomro et al. 2012), taken where clips cannot be opened without fetching them.
USUAL_SECONDS, USUAL_ASPECT = 7.2, 4 / 3


@dataclass(frozen=True)
class Planned:
    """What a source gives. clips: by split. bytes: of all. seconds, aspect: of a usual clip; assumed: these are guesses.
    lines: how the source was understood. broken: what the clips that were looked into and cannot be decoded say.
    frames: clips are folders of images.
    """

    classes: list[str]
    clips: dict[str, int]
    bytes: int
    seconds: float = USUAL_SECONDS
    aspect: float = USUAL_ASPECT
    assumed: bool = True
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    frames: bool = False

    @property
    def total(self) -> int:
        return sum(self.clips.values())


@dataclass(frozen=True)
class _Measured:
    """Means over the clips that were opened: seconds, and width over height; None where no clip tells."""

    seconds: float | None
    aspect: float | None
    broken: list[str]


def _measure(source: Source, clips: list[Clip], image_rate: float | None) -> _Measured:
    """Opens a few of the clips, evenly chosen, none where they would have to be fetched."""
    from pipeline.video.decode import BrokenVideo, probe

    chosen = clips[:: max(1, len(clips) // PROBED)][:PROBED]
    seconds, aspects, broken = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for clip, path in zip(chosen, source.sample(chosen, Path(folder)), strict=False):
            try:
                found = probe(path)
            except BrokenVideo as error:
                broken.append(f"{clip.source}: {error.reason}")
                continue
            aspects.append(found.width / found.height)
            if clip.images and image_rate is not None:
                seconds.append(len(clip.images) / image_rate)
            elif not clip.images and found.seconds is not None:
                seconds.append(found.seconds)
    return _Measured(_mean(seconds), _mean(aspects), broken)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def plan(data: Data, seed: int, speed: Speed, image_rate: float | None = None) -> Planned:
    """Finds, chooses and splits as `stages.download` does; one try, within speed.download_timeout. Raises UserError as it does.

    image_rate: as frames.image_rate.
    """
    with open_source(data, speed.model_copy(update={"download_retries": 0})) as source:
        planned = plan_clips(source, data, seed)
        measured = _measure(source, planned.clips, image_rate)
    return Planned(
        planned.classes,
        {split: len(clips) for split, clips in planned.parts.items()},
        sum(clip.size for clip in planned.clips),
        USUAL_SECONDS if measured.seconds is None else measured.seconds,
        USUAL_ASPECT if measured.aspect is None else measured.aspect,
        assumed=measured.seconds is None or measured.aspect is None,
        lines=planned.lines,
        broken=measured.broken,
        frames=any(clip.images for clip in planned.clips),
    )


def check_source(
    data: Data, seed: int, speed: Speed, needed: bool, image_rate: float | None = None
) -> tuple[list[CheckResult], Planned | None]:
    """What is wrong with the source, and what it gives.

    needed: whether download has to run at all. image_rate: as frames.image_rate.
    """
    name = without_credentials(data.archive or data.folder)
    try:
        planned = plan(data, seed, speed, image_rate)
    except UserError as error:
        found = refused("data", error)
        if not needed:
            found = warning("data", f"{found.message} (not needed now: the clips are here)", found.advice)
        return [found], None
    counts = ", ".join(f"{count} {split}" for split, count in planned.clips.items())
    how = "answers byte ranges: " if data.archive and data.archive.lower().startswith("http") else ""
    line = f"{name} {how}{len(planned.classes)} classes, {counts} clips, {planned.bytes / 1e6:,.1f} MB"
    findings = [ok("data", line), *(_understood(line) for line in planned.lines), *_contents(planned, image_rate)]
    return [*findings, *_paths(data), *check_flip(data, planned.classes)], planned


def _understood(line: str) -> CheckResult:
    """A line of the plan's; what is left out, or begins with `warning:`, is to be looked at."""
    if line.startswith("warning: "):
        message, _, advice = line.removeprefix("warning: ").rpartition("; ")
        return warning("data", message, advice)
    return ok("data", line)


def _contents(planned: Planned, image_rate: float | None) -> Iterator[CheckResult]:
    """Whether the clips that were looked into can be decoded."""
    if planned.frames and image_rate is None:
        message = "the clips are folders of images, and frames.image_rate does not say how many a second"
        yield problem("data", message, "set it, e.g. frames.image_rate=25")
    if planned.broken:
        looked = min(PROBED, planned.total)
        message = f"{len(planned.broken)} of {looked} clips that were looked into cannot be decoded: {planned.broken[0]}"
        yield warning("data", message, "frames.on_error=skip leaves such clips out and names them, fail stops at one")


def _paths(data: Data) -> Iterator[CheckResult]:
    """Local paths that some runs would not find, or whose changes DVC would not see."""
    listings = data.listing if isinstance(data.listing, list) else [data.listing]
    named = [("archive", data.archive), ("folder", data.folder), *(("listing", name) for name in listings)]
    named.append(("class_names", data.class_names))
    for key, value in named:
        if value and "://" not in value and not Path(value).expanduser().is_absolute() and not in_git(value):
            message = f"data.{key} = {value} is relative and not in git, so --temp and --queue runs do not find it"
            yield warning("data", message, f"give it as {Path(value).resolve()}")
    source = data.archive or data.folder
    watched = Path(data.watch)
    if not watched.exists():
        tilde = watched.expanduser()
        message = f"data.watch = {data.watch} is not there, and DVC will not run `download` without it"
        otherwise = "set data.watch to the local archive or folder, or to stages/download.py"
        if data.watch.startswith("~") and tilde.exists():
            yield problem("data", f"{message}: DVC does not expand ~", f"give the path as {tilde}")
        else:
            yield problem("data", message, missing_advice(tilde, otherwise))
        return
    broken = sorted(str(path) for path in watched.rglob("*") if path.is_symlink() and not path.exists())
    if broken:
        which = f"{len(broken)} broken link{'s' * (len(broken) > 1)} ({listed(broken, 3)})"
        advice = "remove them, or set data.watch=stages/download.py and run `dvc repro -f download` when the videos change"
        yield problem("data", f"data.watch = {data.watch} holds {which}, at which DVC stops before download", advice)
    if "://" not in source and not watched.samefile(Path(source).expanduser()):
        message = f"data.watch = {data.watch} is not {source}, so DVC does not see when that changes"
        yield warning("data", message, f"set data.watch={source}")
    for key, value in named[2:]:
        if value and not _watched(Path(value).expanduser(), watched):
            message = f"data.{key} = {value} lies outside data.watch = {data.watch}, so DVC does not see when it changes"
            yield warning("data", message, "keep it in the folder")


def _watched(path: Path, watched: Path) -> bool:
    return path.resolve().is_relative_to(watched.resolve())


def check_flip(data: Data, classes: list[str]) -> list[CheckResult]:
    """Whether data.flip names the classes there are, and mirrors them both ways."""
    if isinstance(data.flip, bool):
        return []
    unknown = sorted({*data.flip, *data.flip.values()} - set(classes))
    if unknown:
        message = f"data.flip names {listed(unknown)}, not among the chosen classes ({listed(classes, 10)})"
        return [problem("data", message, "name only chosen classes in data.flip, or set it to true or false")]
    odd = sorted(one for one, other in data.flip.items() if data.flip.get(other, other) != one)
    if odd:
        message = f"data.flip says that {odd[0]} becomes {data.flip[odd[0]]} in a mirror, but not the other way round"
        return [warning("data", message, f"add {data.flip[odd[0]]}: {odd[0]}, if that is what a mirror does")]
    return []
