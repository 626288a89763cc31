"""The sources that predict reads: video files, image sequences and cameras, all with one interface.

Invariants: a source yields the same frames as the pipeline's decoding (`pipeline.video.decode`) at the requested rate and size,
in constant memory; output frame k is the one shown at k / fps seconds.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import pipeline.video.decode  # noqa: F401  # isort: skip  before OpenCV, which reads what this sets when it loads
import cv2
import numpy as np

from pipeline.console import UserError, say
from pipeline.sources.left_out import NOT_VIDEO, LeftOut
from pipeline.sources.naming import is_hidden
from pipeline.video.decode import MICROSECONDS, Damage, finish_frame, frame_size, iterate_frames
from pipeline.video.images import IMAGE_SUFFIXES, natural_order, sample_images

CAMERA = "camera:"
_NUMBER = re.compile(r"%(0?)(\d*)d")

Frame = tuple[int, np.ndarray]  # microseconds from the start, uint8 RGB (H, W, 3), read-only


class Source(Protocol):
    """Something to classify.

    Attributes:
      name: the name that the user gave.
      live: whether it has no end and can be read only once.
    """

    name: str
    live: bool

    def frames(self, fps: float, size: int) -> Iterator[Frame]:
        """Frames at `fps` a second, short side `size` pixels. Raises BrokenVideo, or UserError for a camera."""


def _warn_about(name: str) -> Callable[[Damage], None]:
    return lambda damage: say(f"warning: {name}: {damage}")


class Video(NamedTuple):
    """A file that FFmpeg decodes: a video or a GIF."""

    name: str
    path: Path
    live: bool = False

    def frames(self, fps: float, size: int) -> Iterator[Frame]:
        yield from iterate_frames(self.path, fps, size, threads=os.cpu_count() or 1, on_damage=_warn_about(self.name))


class Images(NamedTuple):
    """An image sequence. rate: images a second; None: each image is one frame at any requested rate."""

    name: str
    paths: tuple[Path, ...]
    rate: float | None
    live: bool = False

    def frames(self, fps: float, size: int) -> Iterator[Frame]:
        warn = _warn_about(self.name)
        yield from sample_images(Path(self.name), self.paths, self.rate, fps, size, rgb=True, on_damage=warn)


class Camera(NamedTuple):
    """A camera by its number. Yields the current frame whenever the next one is due; timestamps are of the wall clock."""

    name: str
    number: int
    live: bool = True

    def frames(self, fps: float, size: int) -> Iterator[Frame]:
        capture = cv2.VideoCapture(self.number)
        try:
            if not capture.isOpened():
                message = f"{self.name}: no such camera, or another program uses it"
                raise UserError(message, advice="check that it is connected and that you have permission to read it")
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where supported, so that frames do not wait in a queue
            start, due = time.monotonic(), 0.0
            while True:
                if not capture.grab():
                    raise UserError(f"{self.name}: stopped delivering frames")
                now = time.monotonic() - start
                if now < due:
                    continue
                converted, image = capture.retrieve()
                if not converted:
                    raise UserError(f"{self.name}: delivered a frame that cannot be converted")
                yield round(now * MICROSECONDS), finish_frame(image, frame_size(image.shape[1], image.shape[0], size))
                due = max(due + 1 / fps, time.monotonic() - start)  # late frames are skipped
        finally:
            capture.release()


def _find_images(pattern: str, rate: float | None) -> Images:
    """The images whose names match a pattern such as frames_%04d.png, ordered by number."""
    folder, name = Path(pattern).parent, Path(pattern).name
    found = list(_NUMBER.finditer(name))
    if len(found) != 1:
        raise UserError(f"{pattern}: a pattern needs exactly one number, such as %04d, in its file name")
    padded, width = found[0].groups()
    digits = f"[0-9]{{{width}}}|[1-9][0-9]{{{width},}}" if padded and width else "[0-9]+"  # as printf formats them
    expression = re.compile(re.escape(name[: found[0].start()]) + f"({digits})" + re.escape(name[found[0].end() :]))
    numbered = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := expression.fullmatch(path.name):
            numbered[int(match[1])] = path
    if not numbered:
        raise UserError(f"{pattern}: no file matches it")
    numbers = sorted(numbered)
    gap = next((pair for pair in pairwise(numbers) if pair[1] - pair[0] != numbers[1] - numbers[0]), None)
    if gap:
        say(f"note: {pattern}: after {gap[0]} comes {gap[1]}; the images are read as consecutive frames")
    return Images(pattern, tuple(numbered[number] for number in numbers), rate)


def _find_in_folder(folder: Path, rate: float | None) -> list[Source]:
    """Every video under `folder`, recognised by content; if there is none, one sequence for every folder that contains images."""
    from pipeline.sources.folders import reason_against  # imports pandas, which only folders need

    videos: list[Path] = []
    sequences: dict[Path, list[Path]] = {}
    left_out = LeftOut()
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(current) / name
            if is_hidden(path.relative_to(folder).parts):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                sequences.setdefault(Path(current), []).append(path)
                continue
            if reason_against(path) is NOT_VIDEO:
                left_out.add(NOT_VIDEO, path.relative_to(folder).as_posix())
            else:  # one that cannot be read, or whose content does not match its suffix, is reported when it is classified
                videos.append(path)
    if left_out.count:
        say(f"{folder}: {left_out.line()}")
    if videos:
        return [Video(str(path), path) for path in videos]
    if not sequences:
        raise UserError(f"{folder}: contains neither videos nor images ({', '.join(IMAGE_SUFFIXES)})")
    return [Images(str(path), tuple(sorted(images, key=natural_order)), rate) for path, images in sorted(sequences.items())]


def find_sources(name: str, rate: float | None = None) -> list[Source]:
    """The sources that one argument names: a file, each video of a folder, one image sequence, or a camera.

    Args:
      rate: images a second of a sequence; None: each image is one frame.

    Raises:
      UserError: if there is no such source.
    """
    if name.startswith(CAMERA):
        number = name.removeprefix(CAMERA)
        if not number.isdecimal():
            raise UserError(f"{name}: not the number of a camera", advice="name a camera by its number, such as camera:0")
        return [Camera(name, int(number))]
    path = Path(name).expanduser()
    if path.is_dir():
        return _find_in_folder(path, rate)
    if path.exists():
        return [Images(name, (path,), rate) if path.suffix.lower() in IMAGE_SUFFIXES else Video(name, path)]
    if _NUMBER.search(path.name):
        return [_find_images(str(path), rate)]
    raise UserError(f"{name}: there is no such file or folder")


def first_seconds(frames: Iterator[Frame], seconds: float | None) -> Iterator[Frame]:
    """The frames of the first `seconds`; None: all."""
    for timestamp, image in frames:
        if seconds is not None and timestamp >= seconds * MICROSECONDS:
            return
        yield timestamp, image
