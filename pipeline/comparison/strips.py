"""A few small frames of a clip, from the records that `extract` made in this checkout."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from pipeline.artifacts import FramesSummary
from pipeline.console import progress
from pipeline.video.records import clip_positions, parse_record, read_record

FRAMES_SHOWN = 8
HEIGHT = 84  # pixels
QUALITY = 70  # of JPEG


def read_strips(folder: Path, clips: Iterable[str], split: str) -> dict[str, list[bytes]]:
    """JPEGs of FRAMES_SHOWN evenly spaced frames, by clip; without the clips that the records do not hold.

    folder: data/frames. split: in which the clips are looked for first; another fold of the data has them in another one.
    """
    wanted, strips = set(clips), {}
    if not wanted or not (folder / "frames.json").exists():
        return {}
    summary = FramesSummary.of(folder)
    order = sorted((name for name, part in summary.splits.items() if part.files), key=lambda name: name != split)
    with progress(total=len(wanted), describe="frames of clips", unit="clip") as bar:
        for name in order:
            for position in clip_positions(summary.files(folder, name)):
                stored = parse_record(read_record(position))
                if stored.clip in wanted:
                    strips[stored.clip] = [_small(stored.jpegs[index]) for index in frame_indices(len(stored.jpegs))]
                    bar.update()
                if len(strips) == len(wanted):
                    return strips
    return strips


def frame_indices(frames: int) -> list[int]:
    """The middles of FRAMES_SHOWN equal parts of a clip; all frames of a shorter one."""
    shown = min(FRAMES_SHOWN, frames)
    return [int((number + 0.5) * frames / shown) for number in range(shown)]


def _small(jpeg: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, round(width * HEIGHT / height)), HEIGHT), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
