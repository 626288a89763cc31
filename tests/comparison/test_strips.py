"""Frames of clips, from records that are written here; the colour of a frame tells which one it is."""

import cv2
import numpy as np

from pipeline.artifacts import FramesSummary
from pipeline.comparison.strips import HEIGHT, frame_indices, read_strips
from pipeline.video.records import serialize_clip, write_shard


def record(name: str, frames: int) -> bytes:
    images = [np.full((48, 64, 3), 20 + 10 * number, np.uint8) for number in range(frames)]
    jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    return serialize_clip(name, 0, "x", "g", jpegs, list(range(frames)))


def write_frames(folder, splits: dict[str, list[str]], frames: int = 16) -> None:
    folder.mkdir(parents=True)
    parts = {}
    for split, names in splits.items():
        write_shard(folder / f"{split}.tfrecord", [record(name, frames) for name in names])
        sizes = {"clips": len(names), "frames": 0, "groups": 1, "bytes": 0, "frames_per_clip": None, "per_class": {}}
        parts[split] = sizes | {"files": [f"{split}.tfrecord"]}
    summary = {"classes": ["x"], "fps": 5.0, "size": 48, "quality": 95, "splits": parts, "skipped": [], "damaged": []}
    FramesSummary.parse(summary, folder).write(folder / "frames.json")


def test_evenly_spaced_small_frames_of_the_wanted_clips(tmp_path):
    """Also of a clip that is in another split here than in the models compared."""
    write_frames(tmp_path / "frames", {"test": ["x/a.avi", "x/b.avi"], "train": ["x/c.avi"]})
    strips = read_strips(tmp_path / "frames", ["x/b.avi", "x/c.avi", "x/absent.avi"], "test")
    assert set(strips) == {"x/b.avi", "x/c.avi"}
    images = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in strips["x/b.avi"]]
    assert [image.shape for image in images] == [(HEIGHT, HEIGHT * 64 // 48, 3)] * 8
    shades = [round((float(image.mean()) - 20) / 10) for image in images]
    assert shades == [1, 3, 5, 7, 9, 11, 13, 15]


def test_indices_are_the_middles_of_equal_parts():
    assert frame_indices(8) == list(range(8))
    assert frame_indices(24) == [1, 4, 7, 10, 13, 16, 19, 22]
    assert frame_indices(3) == [0, 1, 2] and frame_indices(1) == [0]


def test_without_records_there_are_none(tmp_path):
    assert read_strips(tmp_path / "frames", ["x/a.avi"], "test") == {}
    write_frames(tmp_path / "made", {"test": ["x/a.avi"]})
    assert read_strips(tmp_path / "made", [], "test") == {}
