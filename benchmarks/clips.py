"""Clips to measure on: made up in UCF-101's likeness, or a folder's own, repeated where there are too few."""

import itertools
import random
from collections import defaultdict
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np

from pipeline.console import UserError, progress
from pipeline.sources.folders import folder_clips

CLASSES = ("East", "North", "South", "West", "Still")
_STEPS = {"East": (2, 0), "North": (0, -2), "South": (0, 2), "West": (-2, 0), "Still": (0, 0)}  # pixels a frame
WIDTH, HEIGHT, FPS = 320, 240, 25  # as UCF-101
SECONDS = (5.0, 7.0)
FIRST_GROUP = 5  # with groups on from here, UCF-101's first fold (which tests groups 1-7) has clips on both sides
_MARGIN = 360  # pixels by which the scene is larger than the frame: the furthest a clip drifts


def _scene(rng: np.random.Generator, hue: int) -> np.ndarray:
    """A picture with coarse and fine detail: uint8 (H, W, 3), BGR."""
    shape = (HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN)
    coarse = cv2.resize(rng.normal(128, 70, (24, 26)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.normal(0, 25, shape).astype(np.float32), (0, 0), 1.5)
    value = np.clip(coarse + fine, 0, 255).astype(np.uint8)
    planes = [np.full(shape, hue, np.uint8), np.full(shape, 120, np.uint8), value]
    return cv2.cvtColor(cv2.merge(planes), cv2.COLOR_HSV2BGR)


def _write(path: Path, name: str, rng: np.random.Generator, size: tuple[int, int], seconds: tuple[float, float]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"XVID"), FPS, size)
    if not writer.isOpened():
        raise UserError(f"{path}: this OpenCV cannot write MPEG-4; give clips of your own with --clips")
    scene = _scene(rng, int(rng.integers(180)))
    across, down = _STEPS[name]
    for number in range(round(FPS * rng.uniform(*seconds))):
        left, top = _MARGIN + across * number, _MARGIN + down * number
        frame = scene[top : top + size[1], left : left + size[0]]
        grain = rng.integers(-2, 3, (*frame.shape[:2], 1), np.int16)
        writer.write(np.clip(frame + grain, 0, 255).astype(np.uint8))
    writer.release()


def synthesise(
    folder: Path, count: int, *, size: tuple[int, int] = (WIDTH, HEIGHT), seconds: tuple[float, float] = SECONDS
) -> Path:
    """Renders `count` MPEG-4 AVIs of 25 frames a second, of CLASSES in turn, in UCF-101's names; returns `folder`.

    A textured scene drifts, each class in its own direction, under a little grain.

    Args:
      size: (width, height) in pixels.
      seconds: shortest and longest clip.
    """
    for name in CLASSES[:count]:
        (folder / name).mkdir(parents=True, exist_ok=True)

    def write(number: int) -> None:
        name, group = CLASSES[number % len(CLASSES)], FIRST_GROUP + number // len(CLASSES)
        _write(folder / name / f"v_{name}_g{group:02d}_c01.avi", name, np.random.default_rng(number), size, seconds)

    with ThreadPool() as pool:
        written = pool.imap_unordered(write, range(count))
        for _ in progress(written, total=count, describe="making up clips", unit="clip"):
            pass
    return folder


def repeated(folder: Path, count: int, target: Path) -> Path:
    """Names `count` clips in `target`, those of `folder` again and again, as links; returns `target`.

    Classes take turns and their clips are shuffled, so that few clips too are of every class and of many groups.
    A UCF-101 name keeps its class and group: the copy's number goes behind that of the clip.
    """
    found = sorted(folder_clips(str(folder)).clips, key=lambda clip: clip.source)
    random.Random(0).shuffle(found)
    turns = defaultdict(itertools.count)
    sources = sorted(found, key=lambda clip: (next(turns[clip.category]), clip.category))
    for number in range(count):
        clip = sources[number % len(sources)]
        source = folder / clip.source
        link = target / clip.category / f"{source.stem}{number // len(sources):05d}{source.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source.resolve())
    return target
