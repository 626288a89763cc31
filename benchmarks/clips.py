"""Clips to measure on: rendered ones like UCF-101's, or a folder's own, repeated where there are too few."""

import itertools
import random
from collections import defaultdict
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np

from pipeline.console import UserError, progress
from pipeline.sources.folders import folder_clips

STEPS = {"East": (2, 0), "North": (0, -2), "South": (0, 2), "West": (-2, 0), "Still": (0, 0)}  # pixels a frame, by class
CLASSES = tuple(STEPS)
WIDTH, HEIGHT, FPS = 320, 240, 25  # as UCF-101
SECONDS = (5.0, 7.0)
_MARGIN = 360  # pixels by which the scene is larger than the frame: the furthest a clip drifts


def _draw_scene(rng: np.random.Generator) -> np.ndarray:
    """A picture with coarse and fine detail: uint8 (H, W, 3)."""
    shape = (HEIGHT + 2 * _MARGIN, WIDTH + 2 * _MARGIN)
    coarse = cv2.resize(rng.normal(128, 70, (24, 26, 3)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.normal(0, 25, shape).astype(np.float32), (0, 0), 1.5)
    return np.clip(coarse + fine[..., None], 0, 255).astype(np.uint8)


def _render(path: Path, step: tuple[int, int], rng: np.random.Generator, size: tuple[int, int], frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"XVID"), FPS, size)
    if not writer.isOpened():
        raise UserError(f"{path}: this OpenCV cannot write MPEG-4", advice="give clips of your own with --clips")
    scene = _draw_scene(rng)
    for number in range(frames):
        left, top = (_MARGIN + pixels * number for pixels in step)
        frame = scene[top : top + size[1], left : left + size[0]]
        grain = rng.integers(-2, 3, (*frame.shape[:2], 1), np.int16)
        writer.write(np.clip(frame + grain, 0, 255).astype(np.uint8))
    writer.release()


def render_clips(
    folder: Path, count: int, *, size: tuple[int, int] = (WIDTH, HEIGHT), seconds: tuple[float, float] = SECONDS
) -> Path:
    """Renders MPEG-4 AVIs, named as UCF-101 names its own, as many of each class as of the others; returns `folder`.

    A textured scene drifts, in each class in its own direction, under a little grain.

    Args:
      size: (width, height) in pixels.
      seconds: shortest and longest clip.
    """
    for name in CLASSES:
        (folder / name).mkdir(parents=True)

    def render(number: int) -> None:
        name, rng = CLASSES[number % len(CLASSES)], np.random.default_rng(number)
        path = folder / name / f"v_{name}_g{1 + number // len(CLASSES):02d}_c01.avi"
        _render(path, STEPS[name], rng, size, round(FPS * rng.uniform(*seconds)))

    with ThreadPool() as pool:
        for _ in progress(pool.imap_unordered(render, range(count)), total=count, describe="rendering clips", unit="clip"):
            pass
    return folder


def repeat_clips(folder: Path, count: int, target: Path) -> Path:
    """Links `count` clips into `target`, those of `folder` again and again; returns `target`.

    They are dealt one of each class at a time, in random order, so that few clips, too, are of every class and of many groups.
    A UCF-101 name keeps its class and group: the number of the copy follows that of the clip.
    """
    found = sorted(folder_clips(str(folder)).clips, key=lambda clip: clip.source)
    random.Random(0).shuffle(found)
    ranks = defaultdict(itertools.count)
    dealt = sorted(found, key=lambda clip: (next(ranks[clip.category]), clip.category))
    for number in range(count):
        clip = dealt[number % len(dealt)]
        source = folder / clip.source
        link = target / clip.category / f"{source.stem}{number // len(dealt):05d}{source.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source.resolve())
    return target
