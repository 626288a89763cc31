"""Synthesised videos whose frames show their own index as white and black bars, so that sampling is checked frame by frame."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

BITS = 8


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """RGB; the bits of `index` as vertical bars, the lowest at the left; red is low everywhere, to detect swapped channels."""
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


def write_av(
    path: Path,
    frames: int,
    *,
    fps: int = 25,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    start: float = 0.0,
    times: Sequence[float] | None = None,
    width: int = 160,
    height: int = 120,
    aspect: Fraction | None = None,
    matrix: Sequence[int] | None = None,
    audio: float = 0.0,
    pictures: Sequence[np.ndarray] | None = None,
) -> Path:
    """A video by FFmpeg's own encoders: frames of `picture`, or of `pictures`.

    start: seconds at which it begins. times: seconds at which each frame begins. aspect: of a sample. matrix: how it is turned,
    nine numbers of 16.16 bits. audio: seconds of silent audio.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        unit = Fraction(1, fps if times is None else 1000 * fps)
        stream.codec_context.time_base = unit
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(list(matrix))
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        for index in range(frames):
            image = picture(index, width, height) if pictures is None else pictures[index]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = index / fps if times is None else times[index]
            frame.pts, frame.time_base = round((start + seconds) / unit), unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for number in range(round(audio * 8000 / 1024)):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 8000, number * 1024, Fraction(1, 8000)
            container.mux(sound.encode(silence))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """(offset in the file, bytes) of each video packet, in the order of decoding."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite(path: Path, at: int, content: bytes) -> Path:
    changed = bytearray(path.read_bytes())
    changed[at : at + len(content)] = content
    path.write_bytes(changed)
    return path
