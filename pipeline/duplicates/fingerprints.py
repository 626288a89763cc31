"""Fingerprints of clips for the search for duplicates: small grey frames on a fixed grid of time. No TensorFlow here.

Invariant: a fingerprint depends on the content of the file and on the libraries that decode it alone. Worker processes import
this module.
"""

import functools
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.console import UserError, progress
from pipeline.files import atomic_file, content_key, scratch, sha256
from pipeline.video.container import VideoFile
from pipeline.video.decode import BrokenVideo, library_versions
from pipeline.video.images import images_in, sample_images

__all__ = ["RATE", "SECONDS", "SIDE", "UNIT", "Fingerprint", "fingerprint", "fingerprints"]

RATE = 20  # frames a second: copies may be half a frame out of step, which at 10 a second changes fast motion too much
SECONDS = 60  # of a clip that are looked at
SIDE = 8  # pixels; at 16, different repetitions of a movement differ no more, and the copies' noise is larger
UNIT = 256  # of a grey level of 0 to 255: rounding to whole levels would drown slow motion
VERSION = 1  # bump to discard fingerprints made by older code
_BATCH = 16  # files; below, worker processes take longer to start than to work


class Fingerprint(NamedTuple):
    """What a clip looks like.

    Attributes:
      frames: uint16 (T, SIDE, SIDE), grey levels in 1/UNIT: the mean over areas of what a player shows at every 1/RATE s of the
        first SECONDS, whatever its proportions. Of a folder of images, each of the first RATE * SECONDS images.
      sha256: of the file's content, hexadecimal; of a folder of images, that of their digests in order.
    """

    frames: np.ndarray
    sha256: str


def fingerprint(path: Path) -> Fingerprint:
    """The fingerprint of a video or a folder of images. Raises BrokenVideo."""
    return Fingerprint(_frames(Path(path)), _digest(Path(path)))


def _digest(path: Path) -> str:
    try:
        if not path.is_dir():
            return sha256(path)
        return hashlib.sha256("\n".join(sha256(image) for image in images_in(path)).encode()).hexdigest()
    except FileNotFoundError:
        raise BrokenVideo(path, "there is no such file") from None
    except PermissionError:
        raise BrokenVideo(path, "may not be read", advice="change its permissions") from None


def _frames(path: Path) -> np.ndarray:
    cv2.setNumThreads(1)  # the clips are the parallelism
    found = _frames_of_images(path) if path.is_dir() else _frames_of_video(path)
    return np.stack(list(itertools.islice(found, RATE * SECONDS)))


def _frames_of_video(path: Path) -> Iterator[np.ndarray]:
    """The frames on the grid of `pipeline.video.decode`, from the grey plane alone, in a third of the time."""
    with VideoFile(path) as video:
        clock = video.clock(Fraction(RATE))
        before, due = None, 0
        for start, frame in video.frames(clock):
            if before is not None:
                count = _due(start, due, clock.due)
                yield from _repeated(video, before, count)
                due += count * clock.due
            before = frame
        yield from _repeated(video, before, _due(clock.end, due, clock.due))


def _due(until: int, due: int, step: int) -> int:
    """How many output frames start at `due`, `due + step`, ... before `until`."""
    return max(0, -(-(until - due) // step))


def _repeated(video: VideoFile, frame, count: int) -> Iterator[np.ndarray]:
    if count:
        *_, orientation = video.shape(frame)
        yield from itertools.repeat(orientation.apply(_reduced(video.pixels(frame, "gray"))), count)


def _frames_of_images(folder: Path) -> Iterator[np.ndarray]:
    paths = images_in(folder)[: RATE * SECONDS]
    if not paths:
        raise BrokenVideo(folder, "holds no images")
    for _, image in sample_images(folder, paths, None, RATE, 16 * SIDE, rgb=True):
        yield _reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def _reduced(image: np.ndarray) -> np.ndarray:
    """uint16 (SIDE, SIDE), in 1/UNIT, of a grey image uint8 (H, W)."""
    small = cv2.resize(image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.round(small * UNIT).astype(np.uint16)


def fingerprints(files: Mapping[str, Path], workers: int | None = None) -> dict[str, Fingerprint | BrokenVideo]:
    """Fingerprints of videos or folders of images by name, in the order of `files`; the error of one that cannot be decoded.

    They are computed in parallel, behind a progress bar, and kept in `.cache/fingerprints` by content, 2.6 kB a second of a clip.

    workers: processes; None: one per core. Raises UserError if a process is killed.
    """
    folder = scratch("fingerprints", content_key(VERSION, RATE, SECONDS, SIDE, UNIT, library_versions()))
    paths = [Path(path).absolute() for path in files.values()]
    workers = min(workers or joblib.cpu_count(), -(-len(paths) // _BATCH))
    with progress(total=len(paths), describe="fingerprints", unit="clip") as bar:
        if workers <= 1:
            found = map(functools.partial(_kept, folder), paths)
        else:
            task = joblib.delayed(_kept)
            found = joblib.Parallel(workers, return_as="generator")(task(folder, path) for path in paths)
        result = {}
        try:
            for name, one in zip(files, found, strict=True):
                result[name] = one
                bar.update()
        except TerminatedWorkerError:
            raise UserError(
                f"a process that fingerprints clips was killed (no memory left, or a video that crashes the decoder), after "
                f"{len(result)} of {len(files)}",
                advice="run again, with speed.decode_workers=1 if it recurs; finished ones are kept",
            ) from None
    return result


def _kept(folder: Path, path: Path) -> Fingerprint | BrokenVideo:
    """The fingerprint, from `folder` if it is there, else computed and put there; runs in a worker process.

    Returns a broken video's error instead of raising it, because it must not end the work on other clips.
    """
    try:
        digest = _digest(path)
        file = folder / digest[:2] / f"{digest}.npy"
        frames = _read(file)
        if frames is not None:
            return Fingerprint(frames, digest)
        frames = _frames(path)
    except BrokenVideo as error:
        return error
    with atomic_file(file) as part, part.open("wb") as content:
        np.save(content, frames)
        content.flush()
        os.fsync(content.fileno())  # a file that is there is whole, also after a power failure
    return Fingerprint(frames, digest)


def _read(file: Path) -> np.ndarray | None:
    """The frames in a kept file; None if there is none, or if it was damaged after it was written: it is then made again."""
    try:
        return np.load(file, allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError):
        return None
