"""The views of a clip in NumPy: a TFLite file is run without TensorFlow, which takes seconds to import.

Invariants: the frames, the places of the views and the crop are those of `pipeline.video.views`, bit for bit (a test holds
them together). Decoded frames have the model's size as their short side already, so that a crop is all that is left to do.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.inference.sources import Frame
from pipeline.video.decode import MICROSECONDS

KEPT = 2000  # frames held in memory, 240 MB at 172 pixels; a longer clip is read twice


class Clip(NamedTuple):
    """A clip's views float32 (views, count, size, size, 3) in [0, 1], its number of frames, and how long they last in seconds."""

    views: np.ndarray
    frames: int
    seconds: float


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centred square of a frame whose short side is `size`: uint8 (H, W, 3) -> float32 (size, size, 3) in [0, 1]."""
    height, width, _ = image.shape
    if min(height, width) != size:
        raise ValueError(f"a frame of {width}x{height} pixels, where the short side should be {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size].astype(np.float32) / np.float32(255)


def read_views(frames: Callable[[], Iterator[Frame]], fps: float, size: int, choose: Callable[[int], np.ndarray]) -> Clip:
    """Reads a clip and cuts out its views, in memory that does not grow with the clip.

    Args:
      frames: iterates over the clip's frames from the first one, each time it is called.
      choose: the clip's number of frames -> the frames of each view, int (views, count).
    """
    kept: dict[int, np.ndarray] = {}
    total = end = 0
    for timestamp, image in frames():
        kept[total], end = image, timestamp
        total += 1
        if total > KEPT:
            kept.clear()
    indices = choose(total)
    if total > KEPT:
        wanted = set(indices.ravel().tolist())
        kept = {number: image for number, (_, image) in enumerate(frames()) if number in wanted}
    pixels = np.stack([np.stack([square(kept[number], size) for number in view]) for view in indices.tolist()])
    return Clip(pixels, total, end / MICROSECONDS + 1 / fps)
