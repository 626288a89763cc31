"""The views of a clip in NumPy: TFLite files run without TensorFlow, which takes seconds to import.

Invariants: the frames, the positions of the views and the crop are bit-identical to those of `pipeline.video.views` (a test
compares them). The short side of decoded frames already has the model's size, so they only need to be cropped.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.inference.sources import Frame
from pipeline.video.decode import MICROSECONDS

MAX_FRAMES = 2000  # held in memory, 240 MB at 172 pixels; a longer clip is decoded twice


class ClipViews(NamedTuple):
    """Views float32 (views, count, size, size, 3) in [0, 1], and the clip's number of frames and length in seconds."""

    views: np.ndarray
    frames: int
    seconds: float


def centre_square(image: np.ndarray, size: int) -> np.ndarray:
    """The centred square of a frame whose short side is `size`: uint8 (H, W, 3) -> float32 (size, size, 3) in [0, 1]."""
    height, width, _ = image.shape
    if min(height, width) != size:
        raise ValueError(f"a frame of {width}x{height} pixels, where the short side should be {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size].astype(np.float32) / np.float32(255)


def read_views(
    frames: Callable[[], Iterator[Frame]], fps: float, size: int, view_indices: Callable[[int], np.ndarray]
) -> ClipViews:
    """Reads a clip and cuts out its views; the memory needed does not grow with the clip.

    Args:
      frames: returns an iterator over the clip's frames, from the first one at each call.
      view_indices: from the clip's number of frames, the frames of each view, int (views, count).
    """
    kept: dict[int, np.ndarray] = {}
    total = end = 0
    for timestamp, image in frames():
        kept[total], end = image, timestamp
        total += 1
        if total > MAX_FRAMES:
            kept.clear()
    indices = view_indices(total)
    if total > MAX_FRAMES:
        wanted = set(indices.ravel().tolist())
        kept = {number: image for number, (_, image) in enumerate(frames()) if number in wanted}
    pixels = np.stack([np.stack([centre_square(kept[number], size) for number in view]) for view in indices.tolist()])
    return ClipViews(pixels, total, end / MICROSECONDS + 1 / fps)
