"""Records and predictions of synthetic clips."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.evaluation.predictions import Predictions
from pipeline.evaluation.suspects import COLUMNS

NO_SUSPECTS = pd.DataFrame(columns=COLUMNS)


def predictions(labels: list[int], probabilities: list[list[float]], clips: list[str] | None = None) -> Predictions:
    values = np.array(probabilities)
    names = np.array(clips or [f"c{number}" for number in range(len(labels))])
    classes = [f"class {number}" for number in range(values.shape[1])]
    return Predictions(classes, names, names, np.full(len(names), "test"), np.array(labels), values.argmax(1), values)


def grey_jpegs(levels: list[int], width: int = 64, height: int = 48) -> list[bytes]:
    """Frames of a single grey each."""
    frames = [np.full((height, width, 3), level, np.uint8) for level in levels]
    return [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for frame in frames]


def write_records(folder: Path, split: str, clips: dict[str, tuple[int, list[int]]], shards: int = 2) -> list[Path]:
    """Writes records of `clips`: name -> (label, the grey of each frame), five frames a second. Returns the files."""
    from pipeline.video.records import serialize_clip, shard_names, shard_order, write_shard

    names = shard_names(split, len(clips), shards)
    ordered = shard_order(clips)
    for number, name in enumerate(names):
        own = [(clip, *clips[clip]) for clip in ordered[number :: len(names)]]
        write_shard(
            folder / name,
            [
                serialize_clip(
                    clip, label, f"class {label}", f"g{clip}", grey_jpegs(levels), [200_000 * k for k in range(len(levels))]
                )
                for clip, label, levels in own
            ],
        )
    return [folder / name for name in names]
