"""The sources that predict reads: video files, image sequences, cameras and streams, all with one interface.

Invariants: a source that has an end yields the same frames as the pipeline's decoding (`pipeline.video.decode`) at the requested
rate and size, in constant memory; output frame k is the one shown at k / fps seconds. `pipeline.inference.live` has the others.
No name contains the user, password or query of an address.
"""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np

from pipeline.console import UserError, say, without_credentials
from pipeline.inference.connections import (
    FILE_SCHEMES,
    SCHEMES,
    SEGMENTED,
    CameraConnection,
    Header,
    Lost,
    StreamConnection,
    interruptible,
)
from pipeline.inference.live import DEFAULT_PATIENCE, GRACE, Live, Patience
from pipeline.sources.left_out import NOT_VIDEO, LeftOut
from pipeline.sources.naming import is_hidden
from pipeline.video.decode import MICROSECONDS, BrokenVideo, Damage, iterate_frames
from pipeline.video.images import IMAGE_SUFFIXES, natural_order, sample_images

CAMERA = "camera:"
_CAMERA_ADVICE = "check that it is connected and that you have permission to read it"
_STREAM_ADVICE = "check the address, and that what it names is running"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
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
        """Frames at `fps` a second, short side `size` pixels. Raises BrokenVideo, or UserError for a camera or an address."""


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


def _suffix(url: str) -> str:
    return Path(unquote(urlsplit(url).path)).suffix.lower()


class RemoteFile:
    """A video or an image on a web server; downloaded when it is read for the first time, deleted with the source."""

    live = False

    def __init__(self, name: str, url: str, patience: Patience) -> None:
        self.name, self._url, self._patience = name, url, patience
        self._folder: tempfile.TemporaryDirectory | None = None

    def frames(self, fps: float, size: int) -> Iterator[Frame]:
        from pipeline.inference.remote import download  # imports requests, which only this needs

        if self._folder is None:
            folder = tempfile.TemporaryDirectory(prefix="predict-")
            download(self.name, self._url, Path(folder.name, "file"), self._patience)
            self._folder = folder
        path = Path(self._folder.name, "file")
        try:
            if _suffix(self._url) in IMAGE_SUFFIXES:
                yield from Images(self.name, (path,), None).frames(fps, size)
            else:
                yield from iterate_frames(path, fps, size, threads=os.cpu_count() or 1, on_damage=_warn_about(self.name))
        except BrokenVideo as error:
            raise UserError(f"{self.name}: {error.reason}") from None


def _device(name: str) -> int | str | None:
    """The camera that a name means: a number, or the name of a device; None if it means none."""
    if name.startswith(CAMERA):
        number = name.removeprefix(CAMERA)
        if not number.isdecimal():
            raise UserError(f"{name}: not the number of a camera", advice="name a camera by its number, such as camera:0")
        return int(number)
    return name if sys.platform == "linux" and Path(name).is_char_device() else None


def is_live(name: str) -> bool:
    """Whether a name alone says that a source has no end. An http(s) address does not: it may be of a file."""
    scheme = _SCHEME.match(name)
    if scheme:
        return scheme[1].lower() in SCHEMES and scheme[1].lower() not in FILE_SCHEMES
    return name.startswith(CAMERA) or _device(name) is not None


def _find_at_address(url: str, patience: Patience) -> Source:
    """A stream or, at an http(s) address of an image, or that states a length and is not sent in segments, a file."""
    name, scheme = without_credentials(url), _SCHEME.match(url)[1].lower()
    if scheme not in SCHEMES:
        raise UserError(f"{name}: {scheme}:// cannot be read", advice=f"addresses begin with {', '.join(SCHEMES)}")
    connect = partial(StreamConnection, name, url)
    if scheme in FILE_SCHEMES:

        def read_header() -> Header:
            connection = connect(patience.timeout)
            try:
                return connection.header
            finally:
                connection.close()

        try:
            header = interruptible(read_header, patience.timeout + GRACE)
        except Lost as loss:
            raise UserError(f"{name}: {loss}", advice=_STREAM_ADVICE) from None
        image = header.format.endswith("_pipe") and _suffix(url) in IMAGE_SUFFIXES
        if image or (header.seconds is not None and header.format not in SEGMENTED):
            return RemoteFile(name, url, patience)
    return Live(name, connect, _STREAM_ADVICE, patience)


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


def find_sources(name: str, rate: float | None = None, patience: Patience = DEFAULT_PATIENCE) -> list[Source]:
    """The sources that one argument names: a file, each video of a folder, one image sequence, a camera or a stream.

    Args:
      rate: images a second of a sequence; None: each image is one frame.
      patience: how long to wait for a camera or an address.

    Raises:
      UserError: if there is no such source.
    """
    if _SCHEME.match(name):
        return [_find_at_address(name, patience)]
    if (device := _device(name)) is not None:
        return [Live(name, lambda timeout: CameraConnection(device), _CAMERA_ADVICE, patience)]
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
