"""A short look at a video: its header, the times of its frames and a thumbnail. No TensorFlow here: worker processes import this.

Invariant: time and memory are bounded, however long the video is: packets of the first minute are read, not decoded, and frames
are decoded until `THUMBNAIL_AT`. What needs every frame comes from `pipeline.duplicates.fingerprints`, which decodes them.
"""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import cv2
import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pipeline.console import UserError, progress
from pipeline.duplicates.fingerprints import SECONDS
from pipeline.video.container import Orientation, VideoFile
from pipeline.video.decode import BrokenVideo, frame_size, resize_frame
from pipeline.video.images import images_in

__all__ = ["Look", "look_at", "look_at_all"]

THUMBNAIL_AT = 1.0  # seconds; of a shorter video, its middle. The first frame is often black.
THUMBNAIL_SIDE = 90  # pixels of the short side
THUMBNAIL_QUALITY = 60


class Look(NamedTuple):
    """What the header of a video and its first second show.

    Attributes:
      codec: FFmpeg's name; of a folder of images, their suffix.
      width, height: pixels as shown, rotation applied.
      fps, seconds: according to the header; None if not stated.
      uneven: share of the frames in the first minute that last less than half or more than one and a half times as long as the
        median; None if there are too few.
      turned: whether the file asks players to rotate or mirror its frames.
      colour: the largest difference between the colour channels of a pixel, on average, on a scale of 0 to 255.
      thumbnail: JPEG.
    """

    codec: str
    width: int
    height: int
    fps: float | None
    seconds: float | None
    uneven: float | None
    turned: bool
    colour: float
    thumbnail: bytes


def look_at(path: Path, image_rate: float | None = None) -> Look | BrokenVideo:
    """Looks at a video or a folder of images; returns a broken one's error. image_rate: images per second of a folder."""
    cv2.setNumThreads(1)  # the videos are the parallelism
    try:
        return _look_at_images(path, image_rate) if path.is_dir() else _look_at_video(path)
    except BrokenVideo as error:
        return error


def _look_at_video(path: Path) -> Look:
    with VideoFile(path) as video:
        width, height = video.shown_size
        fps = None if video.fps is None else float(video.fps)
        wanted = THUMBNAIL_AT if video.seconds is None else min(THUMBNAIL_AT, video.seconds / 2)
        clock = video.clock(Fraction(1))
        first = latest = None
        for time, frame in video.frames(clock):
            first, latest = first or frame, frame
            if clock.seconds(time) >= wanted:
                break
        *proportions, orientation = video.shape(latest)
        images = [video.pixels(frame, "bgr24") for frame in (first, latest)]
        small = orientation.apply(resize_frame(images[-1], frame_size(*proportions, THUMBNAIL_SIDE)))
        if orientation.transpose:
            width, height = height, width
        turned = orientation != Orientation()
        colour = max(map(_colour, images))
        return Look(video.codec, width, height, fps, video.seconds, _uneven(_frame_times(path)), turned, colour, _jpeg(small))


def _look_at_images(folder: Path, rate: float | None) -> Look:
    paths = images_in(folder)
    image = cv2.imread(str(paths[len(paths) // 2]), cv2.IMREAD_COLOR)
    if image is None:
        raise BrokenVideo(folder, f"{paths[len(paths) // 2].name} cannot be read")
    height, width = image.shape[:2]
    small = resize_frame(image, frame_size(width, height, THUMBNAIL_SIDE))
    seconds = None if rate is None else len(paths) / rate
    return Look(paths[0].suffix.lower(), width, height, rate, seconds, None, False, _colour(image), _jpeg(small))


def _colour(image: np.ndarray) -> float:
    """image: uint8 (H, W, 3)."""
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.int16)
    return float((small.max(axis=2) - small.min(axis=2)).mean())


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])[1].tobytes()


def _frame_times(path: Path) -> list[float]:
    """Seconds at which the frames of the first minute begin, in order, by the timestamps of packets, which are not decoded."""
    times: list[float] = []
    with av.open(f"file:{path.resolve()}", metadata_errors="replace") as container:
        stream = container.streams.best("video")
        only_dts = container.format.name == "avi"  # FFmpeg derives the presentation times of an AVI, which stores none
        try:
            for packet in container.demux(stream):
                timestamp = packet.dts if only_dts or packet.pts is None else packet.pts
                if timestamp is not None:
                    times.append(float(timestamp * stream.time_base))
                    if times[-1] - times[0] > SECONDS:
                        break
        except av.error.FFmpegError:  # a damaged end; what it does to the frames is found where they are decoded
            pass
    return sorted(times)


def _uneven(times: list[float]) -> float | None:
    if len(times) < 10:
        return None
    intervals = np.diff(times)
    usual = np.median(intervals)
    return float((np.abs(intervals - usual) > usual / 2).mean())


def look_at_all(files: Mapping[str, Path], image_rate: float | None, workers: int | None = None) -> dict[str, Look | BrokenVideo]:
    """`look_at` for each of `files`, by name and in their order, in parallel. workers: processes; None: one per core."""
    workers = min(workers or joblib.cpu_count(), len(files)) if len(files) > 8 else 1
    looks: dict[str, Look | BrokenVideo] = {}
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    try:
        results = parallel(joblib.delayed(look_at)(path, image_rate) for path in files.values())
        for name, result in zip(files, progress(results, total=len(files), describe="examine", unit="video"), strict=True):
            looks[name] = result
    except TerminatedWorkerError:
        after = list(files)[len(looks)]
        message = f"a process that examines videos was killed (no memory left, or a video that crashes the decoder) near {after}"
        raise UserError(message, advice="take that file out and run again") from None
    return looks
