"""Extraction by codec, against a loop that reads every frame: the same clips, encoded again by FFmpeg's usual encoders."""

import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import av

from pipeline.console import progress, say
from pipeline.settings import Frames
from pipeline.video.decode import BrokenVideo
from pipeline.video.encoding import encode_clip


class Codec(NamedTuple):
    """How clips are encoded. encoder: FFmpeg's name. height: pixels; None: as they are."""

    title: str
    encoder: str
    suffix: str
    options: Mapping[str, str] = MappingProxyType({})
    pixels: str = "yuv420p"
    height: int | None = None


CODECS = (
    Codec("MPEG-4", "mpeg4", ".avi", {"qscale": "4", "bf": "2"}),
    Codec("H.264", "libx264", ".mp4", {"preset": "veryfast"}),
    Codec("H.264, 1080 lines", "libx264", ".mp4", {"preset": "veryfast"}, height=1080),
    Codec("HEVC", "libx265", ".mp4", {"preset": "veryfast", "x265-params": "log-level=error"}),
    Codec("VP9", "libvpx-vp9", ".webm", {"deadline": "realtime", "cpu-used": "6"}),
    Codec("AV1", "libsvtav1", ".mp4", {"preset": "10"}),
    Codec("GIF", "gif", ".gif", pixels="rgb8"),
)


def encode_again(paths: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """The clips by the title of each codec that this FFmpeg can encode; says which it cannot."""
    found = {}
    for codec in progress(CODECS, describe="encoding clips", unit="codec"):
        if codec.encoder not in av.codecs_available:
            say(f"{codec.title}: left out, as this FFmpeg has no {codec.encoder}")
            continue
        target = folder / codec.title
        target.mkdir(parents=True)
        found[codec.title] = [_encode(path, target / f"{path.stem}{codec.suffix}", codec) for path in paths]
    return found


def _encode(source: Path, target: Path, codec: Codec) -> Path:
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        video = reading.streams.video[0]
        height = codec.height or video.height
        stream = writing.add_stream(codec.encoder, rate=video.average_rate, options=dict(codec.options))
        stream.height, stream.width = height, round(video.width * height / video.height / 2) * 2
        stream.pix_fmt = codec.pixels
        unit = 1 / Fraction(video.average_rate)
        for number, frame in enumerate(reading.decode(video)):
            image = frame.reformat(stream.width, stream.height, codec.pixels)
            image.pts, image.time_base = number, unit
            writing.mux(stream.encode(image))
        writing.mux(stream.encode())
    return target


def extract_each(paths: Sequence[Path], frames: Frames) -> float:
    """Seconds a clip of decoding, resizing and encoding as JPEGs, in this process; nothing is written."""
    start = time.perf_counter()
    for path in paths:
        result = encode_clip(path, frames.fps, frames.size, frames.quality)
        if isinstance(result, BrokenVideo):
            raise result
    return (time.perf_counter() - start) / len(paths)
