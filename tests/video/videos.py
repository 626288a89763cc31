"""Synthesised videos whose frames show their own index as white and black bars, so that sampling is checked frame by frame."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

BITS = 8


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """RGB; the bits of `index` as vertical bars, the lowest at the left; red is low everywhere, so that BGR would show."""
    bars = np.array([(index >> bit) & 1 for bit in range(BITS)], np.uint8) * 200 + 20
    row = bars[np.arange(width) * BITS // width]
    image = np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)
    image[:, :, 0] //= 2
    return image


def shown(images: np.ndarray) -> list[int]:
    """The indices that frames show."""
    indices = []
    for image in images:
        columns = image[:, :, 1].mean(axis=0)
        bars = [columns[(2 * bit + 1) * len(columns) // (2 * BITS)] for bit in range(BITS)]
        indices.append(sum(1 << bit for bit, level in enumerate(bars) if level > 120))
    return indices


def write_video(path: Path, fps: float, frames: int, codec: str = "MJPG", width: int = 64, height: int = 48) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot encode {codec} into {path.suffix}")
    for index in range(frames):
        writer.write(picture(index, width, height)[:, :, ::-1])
    writer.release()
    return path


def write_gif(path: Path, milliseconds: list[int]) -> Path:
    images = [Image.fromarray(picture(index)) for index in range(len(milliseconds))]
    images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds)
    return path


def patch_avi(path: Path, *, scale: int | None = None, rate: int | None = None, frames: int | None = None) -> Path:
    """Changes the stream header (AVISTREAMHEADER: dwScale, dwRate and dwLength at bytes 20, 24 and 32)."""
    content = bytearray(path.read_bytes())
    header = content.index(b"strh") + 8
    for offset, value in ((20, scale), (24, rate), (32, frames)):
        if value is not None:
            struct.pack_into("<I", content, header + offset, value)
    if frames is not None:
        struct.pack_into("<I", content, content.index(b"avih") + 8 + 16, frames)
    path.write_bytes(content)
    return path
