"""Whether `data` gives clips: what `download` will find, choose and split, without fetching a clip."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.checks.findings import Finding, listed, ok, problem, refused, warning
from stages.checks.repository import in_git
from stages.console import UserError
from stages.params import Data
from stages.sources.archives import Archive, archive_clips
from stages.sources.classes import choose_classes
from stages.sources.folders import folder_clips, listed_clips
from stages.sources.manifest import SPLITS
from stages.sources.naming import Clip, identified
from stages.sources.splits import split_clips
from stages.tracking.store import without_credentials

PROBED = 5  # clips opened to learn how long and how large they are
# UCF-101's (mean length from Soomro et al. 2012), taken where clips cannot be opened without fetching them.
USUAL_SECONDS, USUAL_ASPECT = 7.2, 4 / 3


@dataclass(frozen=True)
class Planned:
    """What a source gives. clips: by split. bytes: of all. seconds, aspect: of a usual clip; assumed: these are guesses."""

    classes: list[str]
    clips: dict[str, int]
    bytes: int
    seconds: float = USUAL_SECONDS
    aspect: float = USUAL_ASPECT
    assumed: bool = True

    @property
    def total(self) -> int:
        return sum(self.clips.values())


def _measured(paths: list[Path]) -> tuple[float, float] | None:
    """Mean length in seconds, and width over height, of the videos that can be opened; None where none can."""
    import cv2

    found = []
    for path in paths:
        capture = cv2.VideoCapture(str(path))
        rate, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        capture.release()
        if rate > 0 and frames > 0 and height > 0:
            found.append((frames / rate, width / height))
    return tuple(sum(values) / len(found) for values in zip(*found, strict=True)) if found else None


@contextmanager
def _some_clips(data: Data, clips: list[Clip], archive: Archive | None) -> Iterator[list[Path]]:
    """A few of the clips as files, evenly chosen; none where they would have to be fetched."""
    chosen = clips[:: max(1, len(clips) // PROBED)][:PROBED]
    if archive is None:
        yield [Path(data.folder).expanduser() / clip.source for clip in chosen]
    elif archive.remote:
        yield []
    else:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}{Path(clip.source).suffix}" for number, clip in enumerate(chosen)]
            for clip, path in zip(chosen, paths, strict=True):
                archive.copy(clip.source, path, lambda count: None)
            yield paths


def plan(data: Data, seed: int) -> Planned:
    """Finds, chooses and splits as `stages.download` does; one try, within data.timeout. Raises UserError as it does."""
    if data.split.scheme == "given" and data.listing is None:
        raise UserError("data.split.scheme=given takes the splits from data.listing, which is not set")
    archive = Archive(data.archive, retries=0, timeout=data.timeout) if data.archive else None
    try:
        if archive is not None:
            found = archive_clips(archive)
        else:
            found = listed_clips(data.folder, data.listing) if data.listing else folder_clips(data.folder)
        if not found.clips:
            raise UserError(f"no videos in class folders ({found.ignored} other files); expected <class>/<video>")
        classes = choose_classes({clip.category for clip in found.clips}, data.num_classes, data.classes, found.empty)
        parts = split_clips(identified(clip for clip in found.clips if clip.category in classes), data.split, seed)
        every = list(itertools.chain.from_iterable(parts[split] for split in SPLITS))
        planned = Planned(classes, {split: len(parts[split]) for split in SPLITS}, sum(clip.size for clip in every))
        with _some_clips(data, every, archive) as paths:
            measured = _measured(paths)
    finally:
        if archive is not None:
            archive.close()
    if measured is None:
        return planned
    return Planned(planned.classes, planned.clips, planned.bytes, *measured, assumed=False)


def check_source(data: Data, seed: int, needed: bool) -> tuple[list[Finding], Planned | None]:
    """What is wrong with the source, and what it gives; `needed`: whether download has to run at all."""
    name = without_credentials(data.archive or data.folder)
    try:
        planned = plan(data, seed)
    except UserError as error:
        found = refused("data", error)
        if not needed:
            found = warning("data", f"{found.message} (not needed now: the clips are here)", found.advice)
        return [found], None
    counts = ", ".join(f"{count} {split}" for split, count in planned.clips.items())
    how = "answers byte ranges: " if data.archive and data.archive.lower().startswith("http") else ""
    line = f"{name} {how}{len(planned.classes)} classes, {counts} clips, {planned.bytes / 1e6:,.1f} MB"
    return [ok("data", line), *_paths(data), *check_flip(data, planned.classes)], planned


def _paths(data: Data) -> Iterator[Finding]:
    """Local paths that some runs would not find, or whose changes DVC would not see."""
    for key in ("archive", "folder", "listing"):
        value = getattr(data, key)
        if value and "://" not in value and not Path(value).expanduser().is_absolute() and not in_git(value):
            message = f"data.{key} = {value} is relative and not in git, so --temp and --queue runs do not find it"
            yield warning("data", message, f"give it as {Path(value).resolve()}")
    source = data.archive or data.folder
    if not Path(data.watch).exists():
        message = f"data.watch = {data.watch} is not there, and DVC will not run `download` without it"
        yield problem("data", message, "set data.watch to the local archive or folder, or to stages/download.py")
    elif "://" not in source and not Path(data.watch).samefile(Path(source).expanduser()):
        message = f"data.watch = {data.watch} is not {source}, so DVC does not see when that changes"
        yield warning("data", message, f"set data.watch={source}")


def check_flip(data: Data, classes: list[str]) -> list[Finding]:
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
