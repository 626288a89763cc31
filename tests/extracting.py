"""Fixtures for tests of extract: small synthesised clips, their manifest, and a scratch folder for each test."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import FramesSummary
from pipeline.extraction.clips import Clip
from pipeline.files import sha256
from pipeline.settings import Frames
from pipeline.sources.manifest import read_manifest, write_manifest
from stages import extract


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Puts the scratch folder into the test's own folder."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def settings(**changes) -> Frames:
    values = {
        "fps": 5.0,
        "size": 32,
        "count": 4,
        "quality": 95,
        "shards": 2,
        "on_error": "keep",
        "sampling": "uniform",
        "image_rate": None,
    }
    return Frames(**(values | changes))


def extract_clips(manifest: pd.DataFrame, clips: Path, out: Path, workers: int = 1, **changes) -> FramesSummary:
    """Runs the stage. changes: of `settings`."""
    return extract.run(settings(**changes), manifest, clips, out, workers)


def write_clip(path: Path, level: int, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for frame in range(frames):
        writer.write(np.full((32, 48, 3), level + frame, np.uint8))
    writer.release()


def manifest_of(clips: Path, splits: dict[str, str]) -> pd.DataFrame:
    """A manifest of `splits` (clip: split), read back from a CSV as the stage does."""
    classes = sorted({clip.split("/")[0] for clip in splits})
    rows = [
        {
            "clip": clip,
            "file": clip,
            "start": "",
            "end": "",
            "class": clip.split("/")[0],
            "label": classes.index(clip.split("/")[0]),
            "group": clip.rpartition("_")[0].replace("/", "_"),
            "split": split,
            "source": clip,
            "duplicate_of": "",
            "bytes": (clips / clip).stat().st_size,
            "sha256": sha256(clips / clip),
        }
        for clip, split in sorted(splits.items())
    ]
    path = clips.parent / "manifest.csv"
    write_manifest(pd.DataFrame(rows), path)
    return read_manifest(path)


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two classes, 5 train clips, 2 validation and 3 test clips; brightness and length identify a clip."""
    folder = tmp_path / "clips"
    for index in range(10):
        write_clip(folder / "ab"[index % 2] / f"g{index // 4}_{index}.avi", 20 * index, 5 + index)
    return folder


@pytest.fixture
def manifest(clips) -> pd.DataFrame:
    splits = ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    return manifest_of(clips, {f"{'ab'[index % 2]}/g{index // 4}_{index}.avi": split for index, split in enumerate(splits)})


def whole(clip: str, size: int = 1) -> Clip:
    """A clip that is a file. size: bytes."""
    return Clip(clip, 0, "a", "g", size, clip, None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def break_clips(clips: Path, *names: str) -> None:
    for name in names:
        (clips / name).write_text("not a video")
