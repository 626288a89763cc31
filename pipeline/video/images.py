"""Samples clips that are stored as image sequences like videos.

Invariants: as for videos (see `decode`), output frame k is the image displayed at k/fps seconds. An unreadable image counts as
damage, and the previous image is repeated in its place.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from .container import BrokenVideo, Damage, check_elongation
from .decode import EncodedClip, encode_jpegs, exact_rate, frame_size, frame_time, resize_frame

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def natural_order(path: Path) -> list:
    """A sort key by which frame_2 comes before frame_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.as_posix())]


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, in natural order."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_order)


def sample_images(
    name: Path,
    paths: Sequence[Path],
    rate: float | None,
    fps: float,
    size: int,
    *,
    rgb: bool,
    on_damage: Callable[[Damage], None] = lambda damage: None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (microseconds, uint8 image (H, W, 3), read-only) for each output frame at `fps`, short side `size` pixels.

    Args:
      name: of the clip, for messages. paths: its images in order.
      rate: images per second; None: each image is one output frame.
      rgb: the order of the channels; False gives BGR.
      on_damage: called after the last frame if some images could not be read.

    Raises BrokenVideo if fewer than half of the images can be read, if they differ in size, or for a narrow strip.
    """
    wanted = exact_rate(fps)
    step = wanted if rate is None else exact_rate(rate)
    unreadable: list[int] = []
    read = 0
    shape = image = None
    shown = -1
    waiting = 0  # output frames that were due before any image could be read; they show the first readable one
    for k in range(-(-len(paths) * wanted // step)):  # as many as start before the last image ends
        index = int(k * step // wanted)
        if index != shown:
            shown = index
            found = cv2.imread(str(paths[index]), cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR)
            if found is None:
                unreadable.append(index)
            else:
                read += 1
                shape = shape or found.shape
                if found.shape != shape:
                    size_of = [f"{width}x{height}" for height, width, _ in (found.shape, shape)]
                    raise BrokenVideo(paths[index], f"is {size_of[0]} pixels, but the images before it are {size_of[1]}")
                check_elongation(paths[index], found.shape[1], found.shape[0])
                image = resize_frame(found, frame_size(found.shape[1], found.shape[0], size))
                image.flags.writeable = False
        if image is None:
            waiting += 1
            continue
        for earlier in range(k - waiting, k + 1):
            yield frame_time(earlier, wanted), image
        waiting = 0
    if read < len(unreadable) or not read:
        what = f"{paths[unreadable[0]].name} and {len(unreadable) - 1} more" if len(unreadable) > 1 else paths[0].name
        raise BrokenVideo(name, f"{len(unreadable)} of its {read + len(unreadable)} images cannot be read: {what}")
    if unreadable:
        on_damage(Damage(read, read + len(unreadable), 0, float(unreadable[0] / step)))


def encode_images(folder: Path, rate: float, fps: float, size: int, quality: int) -> EncodedClip | BrokenVideo:
    """A folder of images as JPEG frames of `quality`; see `decode.encode_clip`. rate: images per second."""
    cv2.setNumThreads(1)
    damages: list[Damage] = []
    try:
        paths = images_in(folder)
        if not paths:
            raise BrokenVideo(folder, f"holds no images ({', '.join(IMAGE_SUFFIXES)})")
        jpegs, timestamps = encode_jpegs(
            sample_images(folder, paths, rate, fps, size, rgb=False, on_damage=damages.append), quality, folder
        )
    except BrokenVideo as error:
        return error
    return EncodedClip(jpegs, timestamps, *damages)
