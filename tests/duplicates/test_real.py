"""The real clips of UCF-101: which show the same, by eye, and which do not."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.duplicates.fingerprints import fingerprints
from pipeline.duplicates.search import find_duplicates
from pipeline.video.decode import iterate_frames
from tests.duplicates.scenes import write

REAL = os.environ.get("MOVINET_REAL_DATA")
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="MOVINET_REAL_DATA names no folder of real clips"),
]
SAME = {("v_BalanceBeam_g04_c01", "v_BalanceBeam_g12_c02"), ("v_BalanceBeam_g16_c01", "v_BalanceBeam_g16_c02")}


def test_real_clips_and_planted_copies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    with zipfile.ZipFile(Path(REAL) / "UCF101_videos.zip") as archive:
        archive.extractall(tmp_path / "clips")
    files = {path.stem: path for path in sorted((tmp_path / "clips").rglob("*.avi"))}
    assert len(files) == 285
    planted = set()
    for number, (name, path) in enumerate(list(files.items())[::7]):
        images = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for _, image in iterate_frames(path, 25, 120)])
        images = images[len(images) // 4 :] if number % 2 else images
        images = images[:, :, ::-1] if number % 3 == 0 else images
        copy = f"{name}_copy"
        files[copy] = write(tmp_path / f"{copy}.mp4", np.ascontiguousarray(images), "mp4v", 25)
        planted.add((name, copy))
    found = {pair[:2] for one in find_duplicates(fingerprints(files)) for pair in one.pairs}
    originals = {tuple(name.removesuffix("_copy") for name in pair) for pair in found - planted}
    assert originals <= SAME and found >= SAME
    hardly_move = {"v_Archery_g14_c01", "v_ApplyEyeMakeup_g22_c01"}
    assert {name for name, _ in planted - found} <= hardly_move
