"""Writes pictures as an animated GIF (Pillow) or an MP4 (OpenCV)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.console import UserError

# H.264 plays everywhere, but OpenCV's wheels cannot encode it; VP9 plays in browsers, MPEG-4 Part 2 in desktop players.
CODECS = ("avc1", "vp09", "mp4v")
TICKS = 100  # a second: the unit of time in a GIF


def _packed(colours: np.ndarray) -> np.ndarray:
    """Colours uint8 (..., 3) as one number each, uint32 (...)."""
    padded = np.zeros((*colours.shape[:-1], 4), np.uint8)
    padded[..., :3] = colours
    return padded.view(np.uint32)[..., 0]


def _quantised(pictures: Iterable[np.ndarray], fixed: Sequence[tuple[int, int, int]]) -> Iterator[Image.Image]:
    """Each picture in 256 colours: the `fixed` ones, and the best for all other pixels.

    Without dithering, which makes plain areas flicker. An octree's colours are as close to a photograph as a median cut's, which
    takes a hundred times as long.
    """
    colours = _packed(np.array(fixed, np.uint8).reshape(-1, 3))
    order = np.argsort(colours)
    palette = [level for colour in fixed for level in colour]
    for picture in pictures:
        pixels = _packed(picture)
        known = np.isin(pixels, colours)
        indices = np.empty(pixels.shape, np.uint8)
        indices[known] = order[np.searchsorted(colours, pixels[known], sorter=order)]
        others = Image.fromarray(picture[~known][None])
        best = others.quantize(256 - len(fixed), Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        indices[~known] = np.asarray(best)[0] + np.uint8(len(fixed))
        image = Image.fromarray(indices)
        image.putpalette(palette + best.getpalette())
        yield image


def write_gif(
    path: Path, pictures: Iterable[np.ndarray], count: int, fps: float, fixed_colours: Sequence[tuple[int, int, int]] = ()
) -> None:
    """Writes `count` pictures uint8 (H, W, 3), RGB, as an endless loop; rounding of the times does not change the total length.

    fixed_colours: 0..255, in the palette of every picture, so that they are the same throughout.
    """
    starts = [round(number * TICKS / fps) for number in range(count + 1)]
    milliseconds = [(after - before) * 1000 // TICKS for before, after in pairwise(starts)]
    frames = _quantised(pictures, fixed_colours)
    next(frames).save(path, "GIF", save_all=True, append_images=frames, duration=milliseconds, loop=0, disposal=1)


def write_mp4(path: Path, pictures: Iterable[np.ndarray], fps: float) -> None:
    """Writes pictures uint8 (H, W, 3), RGB, of even size, with the first of CODECS that this OpenCV can encode."""
    pictures = iter(pictures)
    first = next(pictures)
    temporary = path.with_name(f"{path.name}.mp4")  # FFmpeg chooses the format by the suffix
    try:
        writer = _writer(temporary, fps, first.shape[1], first.shape[0])
        try:
            for picture in chain([first], pictures):
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _writer(path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
        if writer.isOpened():
            return writer
        writer.release()
    raise UserError(f"this OpenCV cannot write an MP4 (tried {', '.join(CODECS)})", advice="give --animate a .gif")
