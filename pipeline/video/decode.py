"""Decodes videos to frames of a chosen rate and size: FFmpeg decodes (PyAV, see `container`), OpenCV resizes. No TensorFlow here.

Invariants, so that every stage and command sees the same frames of the same video:

- Output frame k shows what a player shows at k/fps seconds: the last source frame that starts at or before then. A source
  slower than `fps` repeats frames, a faster one loses some. The whole clip is covered, from its first frame (time 0) to the
  end of its last, and every video gives at least one frame.
- Times are the container's, so that variable frame rates, pauses and dropped frames keep their timing (see `clock`).
- The short side becomes `size` pixels, the long side keeps the proportions that a player shows, to the nearest pixel (halves up).
  Shrinking averages areas (INTER_AREA), enlarging interpolates (INTER_LINEAR).
- A header's frame count decides nothing, except that a file is called truncated when it ends before half of it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

# OpenCV reads this when it loads. Its messages would repeat those of BrokenVideo, without the file's name.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

import av
import cv2
import numpy as np

from .clock import FrameClock
from .container import BrokenVideo, Damage, Orientation, VideoFile  # relative, because a registered model contains this module

__all__ = [
    "MICROSECONDS",
    "BrokenVideo",
    "Damage",
    "EncodedClip",
    "Frames",
    "Probe",
    "all_frames",
    "decode_clip",
    "encode_jpeg",
    "encode_jpegs",
    "exact_rate",
    "finish_frame",
    "frame_size",
    "frame_time",
    "iterate_frames",
    "library_versions",
    "probe",
    "resize_frame",
    "sample",
]

MICROSECONDS = 1_000_000


def library_versions() -> tuple:
    """Versions of the libraries that decide the pixels of a frame."""
    return cv2.__version__, av.library_versions


class Frames(NamedTuple):
    """A decoded clip."""

    images: np.ndarray  # uint8 (T, H, W, 3), RGB
    timestamps: np.ndarray  # int64 (T,), microseconds from the clip's start
    source_fps: float | None  # the header's frame rate; None if unusable
    damage: Damage | None = None


class EncodedClip(NamedTuple):
    """A decoded clip as JPEG frames."""

    jpegs: list[bytes]
    timestamps: list[int]  # microseconds from the clip's start
    damage: Damage | None = None


class Probe(NamedTuple):
    """The header of a video. seconds, fps: None if not stated. width, height: pixels as shown, before rotation."""

    codec: str
    width: int
    height: int
    fps: float | None
    seconds: float | None


def probe(path: Path) -> Probe:
    """Reads a video's header. Raises BrokenVideo if it is not a video, or if its codec has no decoder."""
    with VideoFile(path) as video:
        return Probe(video.codec, *video.shown_size, None if video.fps is None else float(video.fps), video.seconds)


def frame_time(k: int, rate: Fraction) -> int:
    """Microseconds from the clip's start to output frame k, to the nearest (halves up); in integers, as fractions are slow."""
    return (2 * k * MICROSECONDS * rate.denominator + rate.numerator) // (2 * rate.numerator)


def frame_size(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the short side `size`, the long side in proportion, to the nearest pixel (halves up)."""
    short, long = sorted((width, height))
    long = (2 * long * size + short) // (2 * short)
    return (size, long) if width <= height else (long, size)


def resize_frame(image: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """Resizes a frame to `target` (width, height).

    Bilinear, as in the Model Garden. When a side is at least halved, four pixels no longer cover the area of one output pixel, so
    the mean over the area is used, which is ten times slower.
    """
    width, height = target
    if (image.shape[1], image.shape[0]) == target:
        return image
    halves = 2 * width <= image.shape[1] or 2 * height <= image.shape[0]
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA if halves else cv2.INTER_LINEAR)


def finish_frame(image: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """A BGR frame in RGB at `target` (width, height), read-only because the same array may be returned again."""
    image = cv2.cvtColor(resize_frame(image, target), cv2.COLOR_BGR2RGB)
    image.flags.writeable = False
    return image


def all_frames(video: VideoFile, clock: FrameClock) -> Iterator[tuple[av.VideoFrame, int]]:
    """Every frame that can be decoded, with the tick of `clock` until which it is shown. Raises as `VideoFile.frames` does."""
    before = None
    try:
        for start, frame in video.frames(clock):
            if before is not None:
                yield before, start
            before = frame
    except BrokenVideo:
        if before is not None:
            yield before, clock.end
        raise
    yield before, clock.end


def sample(
    video: VideoFile, frames: Iterable[tuple[av.VideoFrame, int]], due: int, rate: Fraction, size: int, layout: str
) -> Iterator[tuple[int, np.ndarray]]:
    """(microseconds, image) for each output frame, uint8 (H, W, 3) in `layout` (rgb24, bgr24), read-only.

    Only frames that are shown are converted; a conversion costs as much as decoding.

    Args:
      frames: with the tick until which each is shown; those that no output frame shows may be absent.
      due: ticks per output frame. rate: output frames a second. size: pixels of the short side.
    """
    target = None
    orientation = Orientation()
    k = 0
    for frame, until in frames:
        image = None
        while k * due < until:
            if target is None:
                width, height, orientation = video.shape(frame)
                target = frame_size(width, height, size)
            if image is None:
                image = orientation.apply(resize_frame(video.pixels(frame, layout), target))
                image.flags.writeable = False
            yield frame_time(k, rate), image
            k += 1


def _sample_all(video: VideoFile, fps: float, size: int) -> Iterator[tuple[int, np.ndarray]]:
    rate = exact_rate(fps)
    clock = video.clock(rate)
    return sample(video, all_frames(video, clock), clock.due, rate, size, "rgb24")


def exact_rate(fps: float) -> Fraction:
    """Frames a second as a fraction, for exact times."""
    return Fraction(fps).limit_denominator(MICROSECONDS)


def iterate_frames(
    path: Path,
    fps: float,
    size: int,
    *,
    threads: int = 1,
    formats: Sequence[str] = (),
    on_damage: Callable[[Damage], None] = lambda damage: None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (microseconds from the start, uint8 RGB image (H, W, 3)) for each output frame, in constant memory.

    Args:
      fps: output frames a second. size: pixels of the short side. threads: of the decoder.
      formats: FFmpeg's names of the containers that may be opened; empty: all.
      on_damage: called after the last frame if the video is damaged but usable.

    Images are read-only; one that is shown for several output frames is the same object each time.

    Raises BrokenVideo: at once when nothing can be decoded, after the last frame when the video turns out truncated.
    """
    with VideoFile(path, threads, formats) as video:
        yield from _sample_all(video, fps, size)
        if video.damage is not None:
            on_damage(video.damage)


def decode_clip(path: Path, fps: float, size: int, *, threads: int = 1) -> Frames:
    """The whole clip at `fps` frames a second, short side `size` pixels. Raises BrokenVideo. Long videos: iterate_frames."""
    with VideoFile(path, threads) as video:
        times, images = zip(*_sample_all(video, fps, size), strict=True)
        source_fps = None if video.fps is None else float(video.fps)
        return Frames(np.stack(images), np.array(times, np.int64), source_fps, video.damage)


def encode_jpeg(image: np.ndarray, quality: int, path: Path) -> bytes:
    """The JPEG of a BGR frame. path: of its video, for messages."""
    done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"{path}: OpenCV cannot encode a frame of shape {image.shape} as JPEG")
    return jpeg.tobytes()


def encode_jpegs(frames: Iterator[tuple[int, np.ndarray]], quality: int, path: Path) -> tuple[list[bytes], list[int]]:
    """JPEGs of BGR frames and their times in microseconds; a frame that is shown again is encoded once."""
    jpegs: list[bytes] = []
    timestamps: list[int] = []
    latest = None
    for timestamp, image in frames:
        jpegs.append(jpegs[-1] if image is latest else encode_jpeg(image, quality, path))
        timestamps.append(timestamp)
        latest = image
    return jpegs, timestamps
