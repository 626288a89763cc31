"""Videos to frames at a chosen rate and size, with OpenCV's FFmpeg. No TensorFlow, no files written.

What always holds, so that every stage and command sees the same frames of the same video:

- Output frame k shows what a player shows at k/fps seconds: the last source frame that starts at or before then. A source
  slower than `fps` repeats frames, a faster one loses some. The whole clip is covered, from its first frame (time 0) to the
  end of its last, and every video gives at least one frame.
- The times are the container's, so that variable frame rates and dropped frames keep their timing. They are compared as
  fractions: a time within a millisecond of a multiple of the header's frame period (containers round to that) is that multiple.
- The short side becomes `size` pixels, the long side keeps the aspect, rounded to the nearest pixel (halves up).
  Shrinking averages areas (INTER_AREA), enlarging interpolates (INTER_LINEAR). Rotation metadata is honoured (by OpenCV).
- The header's frame count decides nothing, except that a file is called truncated when it ends before half of it.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

# Read when OpenCV loads: what goes wrong is told by BrokenVideo, once, with the file's name.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from ..console import UserError  # relative, because a registered model brings this module along in a package of another name

MICROSECONDS = 1_000_000
TOLERANCE = 1000  # microseconds; Matroska and WebM round times to it
MAX_SOURCE_FPS = 1000  # a header above this is wrong, and so are times closer than its period


Finish = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


class BrokenVideo(UserError):  # noqa: N818
    """A video of which nothing, or less than half, can be decoded. `reason` does not name the file; the message does."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class Frames(NamedTuple):
    """A decoded clip."""

    images: np.ndarray  # uint8 (T, H, W, 3), RGB
    timestamps: np.ndarray  # int64 (T,), microseconds from the clip's start
    source_fps: float | None  # the header's frame rate; None where it gives no usable one


class EncodedClip(NamedTuple):
    """A decoded clip as JPEG frames."""

    jpegs: list[bytes]
    timestamps: list[int]  # microseconds from the clip's start


class _WrongForecast(Exception):  # noqa: N818
    """A frame that was needed was not converted, because the one after it was expected sooner."""


@contextmanager
def _opened(path: Path, threads: int) -> Iterator[cv2.VideoCapture]:
    path = Path(path)
    if not path.is_file():
        raise BrokenVideo(path, "there is no such file")
    if path.stat().st_size == 0:
        raise BrokenVideo(path, "the file is empty")
    # An absolute path, because FFmpeg takes what stands before a colon in a relative one for a protocol.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    try:
        if not capture.isOpened():
            raise BrokenVideo(path, "FFmpeg cannot read it: not a video, or its header is damaged or cut off")
        yield capture
    finally:
        capture.release()


def _source_rate(capture: cv2.VideoCapture) -> Fraction | None:
    """The header's frame rate, e.g. 25 or 30000/1001; None when it is 0, not a number or beyond MAX_SOURCE_FPS."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return (Fraction(rate).limit_denominator(1001) or None) if 0 < rate <= MAX_SOURCE_FPS else None


class _Clock:
    """When each source frame starts, exactly; never runs backwards.

    A frame without a time of its own (FFmpeg reports none for the last frame of AVIs with B-frames) starts one period after
    the frame before it. The period is the header's, or else the time between the last two frames; if neither is known, or
    they are less than a millisecond apart while the header is unusable, the times are worthless and the video is broken.

    Times are whole numbers of a tick in which microseconds, the header's period and that of the output are whole numbers too:
    fractions would take a tenth of the time that decoding takes.

    Attributes:
      second, due: ticks of a second, and of an output frame at `rate`.
      time: of the frame that was grabbed last. period: until the next one, as far as is known.
    """

    def __init__(self, path: Path, capture: cv2.VideoCapture, rate: Fraction) -> None:
        self._path, self._capture = path, capture
        source = _source_rate(capture)
        self._microsecond = rate.numerator * (source.numerator if source else 1)
        self.second = MICROSECONDS * self._microsecond
        self.due = self.second * rate.denominator // rate.numerator
        self.time = 0
        self.period = self.second * source.denominator // source.numerator if source else None
        self._steady = source is not None
        self._origin: int | None = None
        self._latest = 0

    def tick(self) -> int:
        """The start of the frame that was just grabbed."""
        container = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1000)  # microseconds
        if self._origin is None:
            self._origin = container
            return self.time
        elapsed = container - self._origin
        untimed = elapsed <= self._latest
        if not self._steady and (self.period is None or not untimed):
            step = elapsed - self._latest
            if step * MAX_SOURCE_FPS < MICROSECONDS:
                fps = self._capture.get(cv2.CAP_PROP_FPS)
                problem = f"no usable times: its header says {fps:g} frames a second, and its frames do no better"
                raise BrokenVideo(self._path, problem)
            self.period = step * self._microsecond
        if untimed:
            self.time += self.period
            return self.time
        self._latest = elapsed
        self.time = max(self.time, self._nearest(elapsed * self._microsecond))
        return self.time

    def _nearest(self, elapsed: int) -> int:
        """The multiple of the header's period that `elapsed` ticks are within TOLERANCE of, or else just these."""
        if self._steady:
            multiple = (2 * elapsed + self.period) // (2 * self.period) * self.period
            if abs(multiple - elapsed) <= TOLERANCE * self._microsecond:
                return multiple
        return elapsed

    @property
    def end(self) -> int:
        """When the frame that was grabbed last ends, should it be the last of all."""
        return self.time + (self.period or TOLERANCE * self._microsecond)


def frame_size(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the short side `size`, the long side in proportion, to the nearest pixel (halves up)."""
    short, long = sorted((width, height))
    long = (2 * long * size + short) // (2 * short)
    return (size, long) if width <= height else (long, size)


def resize_frame(image: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """A frame at `target` (width, height).

    Bilinear, as the Model Garden resizes; from twice the size on its four pixels would no longer cover what they stand for, and
    the mean over an area, ten times slower, takes its place.
    """
    width, height = target
    if (image.shape[1], image.shape[0]) == target:
        return image
    halves = 2 * width <= image.shape[1] or 2 * height <= image.shape[0]
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA if halves else cv2.INTER_LINEAR)


def finish_frame(image: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """A BGR frame in RGB at `target` (width, height), read-only because the same one may be handed out again."""
    image = cv2.cvtColor(resize_frame(image, target), cv2.COLOR_BGR2RGB)
    image.flags.writeable = False
    return image


def _check_length(path: Path, capture: cv2.VideoCapture, frames: int, end: int, period: int | None) -> None:
    """Both fewer frames and less time than half of what the header says: headers are often a little wrong, not that much."""
    promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not math.isfinite(promised) or 2 * frames >= promised:
        return
    if period is None or 2 * end < promised * period:
        raise BrokenVideo(path, f"truncated: {frames} of the {promised:.0f} frames its header promises can be decoded")


def _sample(
    path: Path, rate: Fraction, size: int, threads: int, finish: Finish, *, every: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """One pass over the file. Grabbing a frame is decoding it; retrieving is converting it to BGR, which is worth saving.

    Whether a frame is needed shows only when the next one's time is known, and then it is gone. So the next one is expected
    a period later, and frames that are not needed then are not retrieved. A wrong forecast raises _WrongForecast, unless
    `every` frame is retrieved. `finish` makes of a BGR frame and its size at the end what is yielded.
    """
    with _opened(path, threads) as capture:
        clock = _Clock(path, capture, rate)
        target = image = finished = None
        count = k = due = 0  # `due` is when output frame k is shown
        ended = False
        while not ended:
            ended = not capture.grab()
            until = clock.end if ended else clock.tick()
            while due < until and (image is not None or not every):
                if image is None:
                    raise _WrongForecast
                if finished is None:
                    target = target or frame_size(image.shape[1], image.shape[0], size)
                    finished = finish(image, target)
                yield round(k * MICROSECONDS / rate), finished
                k += 1
                due += clock.due
            if ended:
                break
            count += 1
            needed = every or clock.period is None or due < until + clock.period
            converted, latest = capture.retrieve() if needed else (False, None)
            if converted:
                image, finished = latest, None
            elif not every:
                image = finished = None
        if k == 0:
            raise BrokenVideo(path, "no frame of it can be decoded")
        _check_length(path, capture, count, until, clock.period)


def _iterate(path: Path, fps: float, size: int, threads: int, finish: Finish) -> Iterator[tuple[int, np.ndarray]]:
    rate = Fraction(fps).limit_denominator(MICROSECONDS)
    sent = 0
    try:
        for frame in _sample(path, rate, size, threads, finish, every=False):
            yield frame
            sent += 1
        return
    except _WrongForecast:
        pass  # uneven frame times: once more, converting every frame, from where this pass ended
    yield from islice(_sample(path, rate, size, threads, finish, every=True), sent, None)


def iterate_frames(path: Path, fps: float, size: int, *, threads: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (microseconds from the start, uint8 RGB image (H, W, 3)) for each output frame, in constant memory.

    `fps`: output frames a second. `size`: pixels of the short side. `threads`: of the decoder.
    Images are read-only, and one that is shown for several output frames is the same object each time.
    Raises BrokenVideo: at once when nothing can be decoded, after the last frame when the video turns out truncated.
    """
    return _iterate(path, fps, size, threads, finish_frame)


def decode_clip(path: Path, fps: float, size: int, *, threads: int = 1) -> Frames:
    """The whole clip at `fps` frames a second, short side `size` pixels. Raises BrokenVideo. Long videos: iterate_frames."""
    times, images = zip(*iterate_frames(path, fps, size, threads=threads), strict=True)
    with _opened(path, threads) as capture:
        rate = _source_rate(capture)
    return Frames(np.stack(images), np.array(times, np.int64), None if rate is None else float(rate))


def encode_clip(path: Path, fps: float, size: int, quality: int) -> EncodedClip | BrokenVideo:
    """The whole clip as JPEG frames of `quality`: what a worker process does for one clip.

    A broken video is returned, not raised, because one of them must not end the work on the others.
    """
    cv2.setNumThreads(1)  # the clips are the parallelism
    jpegs: list[bytes] = []
    timestamps: list[int] = []
    latest = None
    try:
        for timestamp, image in _iterate(path, fps, size, 1, resize_frame):
            if image is latest:
                jpegs.append(jpegs[-1])
            else:
                done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
                if not done:
                    raise RuntimeError(f"{path}: OpenCV cannot encode a frame of shape {image.shape} as JPEG")
                jpegs.append(jpeg.tobytes())
                latest = image
            timestamps.append(timestamp)
    except BrokenVideo as error:
        return error
    return EncodedClip(jpegs, timestamps)
