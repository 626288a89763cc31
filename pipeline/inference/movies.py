"""Pictures as a GIF (Pillow) or an MP4 (OpenCV)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.console import UserError

# H.264 plays everywhere, but OpenCV's own wheels cannot write it; VP9 plays in browsers; MPEG-4 Part 2 in desktop players.
CODECS = ("avc1", "vp09", "mp4v")
TICKS = 100  # a second: a GIF counts time in these


def _numbers(colours: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) colours as one number each, uint32 (...)."""
    padded = np.zeros((*colours.shape[:-1], 4), np.uint8)
    padded[..., :3] = colours
    return padded.view(np.uint32)[..., 0]


def _palettes(pictures: Iterable[np.ndarray], kept: Sequence[tuple[int, int, int]]) -> Iterator[Image.Image]:
    """Each picture in 256 colours: those `kept`, and the best for it. Undithered, as dither makes plain areas crawl."""
    colours = _numbers(np.array(kept, np.uint8).reshape(-1, 3))
    order = np.argsort(colours)
    for picture in pictures:
        best = Image.fromarray(picture).quantize(256 - len(kept), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        indices = np.asarray(best) + np.uint8(len(kept))
        if len(kept):
            pixels = _numbers(picture)
            found = order[np.searchsorted(colours, pixels, sorter=order).clip(max=len(kept) - 1)]
            indices = np.where(colours[found] == pixels, found, indices).astype(np.uint8)
        image = Image.fromarray(indices)
        image.putpalette([level for colour in kept for level in colour] + best.getpalette())
        yield image


def write_gif(
    path: Path, pictures: Iterable[np.ndarray], count: int, fps: float, kept: Sequence[tuple[int, int, int]] = ()
) -> None:
    """Writes `count` uint8 (H, W, 3) RGB pictures, repeating for ever; times are rounded so that the length stays right.

    kept: colours 0..255 that every picture has in its palette, so that they are the same throughout.
    """
    starts = [round(number * TICKS / fps) for number in range(count + 1)]
    milliseconds = [(after - before) * 1000 // TICKS for before, after in pairwise(starts)]
    frames = _palettes(pictures, kept)
    next(frames).save(path, "GIF", save_all=True, append_images=frames, duration=milliseconds, loop=0, disposal=1)


def write_mp4(path: Path, pictures: Iterable[np.ndarray], fps: float) -> None:
    """Writes uint8 (H, W, 3) RGB pictures of even size, with the first codec of CODECS that this OpenCV has."""
    pictures = iter(pictures)
    first = next(pictures)
    named = path.with_name(f"{path.name}.mp4")  # FFmpeg knows the format by the suffix
    try:
        writer = _writer(named, fps, first.shape[1], first.shape[0])
        try:
            for picture in chain([first], pictures):
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
        named.replace(path)
    finally:
        named.unlink(missing_ok=True)


def _writer(path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
        if writer.isOpened():
            return writer
        writer.release()
    raise UserError(f"this OpenCV writes no MP4 (tried {', '.join(CODECS)}); give --animate a .gif")
