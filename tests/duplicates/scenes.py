"""Scenes of a static camera: a textured background before which a patch moves at random; every moment differs."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.duplicates.fingerprints import RATE, UNIT, Fingerprint

WIDTH, HEIGHT = 96, 72


def scene(background: int, moment: int, seconds: float = 3, rate: int = RATE) -> np.ndarray:
    """uint8 (T, HEIGHT, WIDTH), grey. Equal `background`: the same place; equal `moment`: the same movement."""
    rng = np.random.default_rng(background)
    still = cv2.resize(rng.uniform(40, 200, (6, 8)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(1000 + moment)
    times = np.arange(0, 60, 0.25)
    path = [
        np.interp(np.arange(round(seconds * rate)) / rate, times, rng.uniform(0, side, len(times))) for side in (WIDTH, HEIGHT)
    ]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for left, top in zip(*path, strict=True):
        patch = np.exp(-((x - left) ** 2 + (y - top) ** 2) / 200)
        frames.append(np.clip(still * (1 - patch) + 250 * patch, 0, 255).astype(np.uint8))
    return np.stack(frames)


def taken(images: np.ndarray, sha256: str) -> Fingerprint:
    """The fingerprint of images (T, H, W) at RATE frames a second."""
    small = [cv2.resize(image.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA) for image in images]
    return Fingerprint(np.round(np.stack(small) * UNIT).astype(np.uint16), sha256)


def write(path: Path, images: np.ndarray, codec: str = "MJPG", rate: float = RATE) -> Path:
    """Writes grey images (T, H, W) as a video; MJPG for .avi, mp4v for .mp4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = images.shape[2], images.shape[1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path
