"""A clip as a film strip: frames evenly spread over what a classifier sees of it, as small JPEGs.

The whole frame is shown. What lies outside the centred square is dimmed: the classifier does not see it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.explanation.records import Record
from pipeline.video.decode import encode_jpeg, frame_size, resize_frame
from pipeline.video.sampling import Sampling

FRAMES = 8
FRAMES_PER_FILE = 4  # so that a narrow page can show a strip in two rows
SHORT_SIDE = 80  # pixels
LONG_SIDE = 160  # at most, of very elongated videos
GAP = 2  # pixels between frames
_QUALITY = 70
_DIMMED = 0.4  # brightness of what the classifier does not see


class StripPictures(NamedTuple):
    """jpegs: of up to FRAMES_PER_FILE frames each. width, height: pixels of a frame. seconds: of each frame."""

    jpegs: list[bytes]
    width: int
    height: int
    seconds: list[float]

    @property
    def bytes(self) -> int:
        return sum(map(len, self.jpegs))


def time_segments(sampling: Sampling, total: int, views: int) -> list[np.ndarray]:
    """The frames that a classifier sees of a clip of `total` frames, in FRAMES parts of equal length; fewer of a shorter clip."""
    seen = np.unique(sampling.indices(total, views))
    return np.array_split(seen, min(FRAMES, len(seen)))


def make_strip(record: Record, segments: Sequence[np.ndarray], clip: str) -> StripPictures:
    """The middle frame of each segment. clip: its name, for messages."""
    chosen = [int(part[len(part) // 2]) for part in segments]
    images = [_thumbnail(record.jpegs[number]) for number in chosen]
    height, width, _ = images[0].shape
    jpegs = []
    for first in range(0, len(images), FRAMES_PER_FILE):
        row = images[first : first + FRAMES_PER_FILE]
        joined = np.full((height, len(row) * (width + GAP) - GAP, 3), 128, np.uint8)
        for number, image in enumerate(row):
            joined[:, number * (width + GAP) : number * (width + GAP) + width] = image
        jpegs.append(encode_jpeg(joined, _QUALITY, Path(clip)))
    return StripPictures(jpegs, width, height, [record.seconds[number] for number in chosen])


def _thumbnail(jpeg: bytes) -> np.ndarray:
    """A frame in BGR, dimmed outside the centred square."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    width, height = frame_size(image.shape[1], image.shape[0], SHORT_SIDE)
    scale = min(1.0, LONG_SIDE / max(width, height))
    image = resize_frame(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    dimmed = (image * _DIMMED).astype(np.uint8)
    dimmed[top : top + side, left : left + side] = image[top : top + side, left : left + side]
    return dimmed
