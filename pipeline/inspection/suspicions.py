"""What is odd about a video that can be decoded: each kind with its threshold and the reason for it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.duplicates.fingerprints import RATE, SECONDS, UNIT
from pipeline.inspection.content import Suspicion
from pipeline.inspection.examine import Look

__all__ = ["KINDS", "View", "brightness", "decoded_seconds", "motion", "short_segments", "suspicions"]

LONG_SECONDS = 60.0  # and so many times the median: an action recognition clip lasts seconds, a recording minutes
LONG_TIMES = 5.0
MIN_FPS, MAX_FPS = 5.0, 120.0
UNEVEN = 0.1  # share of the frames
DARK = 12.0  # of 255; the brightest frame of a black video has 0 to 3
STILL = 2.0  # of 255; see `motion`. A still picture, encoded, has 0 to 1; the stillest of 285 clips of UCF-101 has 7.7
COLOURLESS = 2.0  # of 255
HEADER_OFF = 0.2  # share of the duration
HEADER_OFF_SECONDS = 0.5

# Words for one and for several videos, and what to do.
KINDS = {
    "short": ("is shorter than one view of the model", "are shorter than one view of the model", "their frames are repeated"),
    "short_segments": (
        "has segments that are shorter than one view of the model",
        "have segments that are shorter than one view of the model",
        "their frames are repeated",
    ),
    "long": ("is very long", "are very long", "label segments (columns start,end of the listing), or cut them"),
    "low_rate": ("has a frame rate below that of the model", "have a frame rate below that of the model", "frames are repeated"),
    "absurd_rate": ("has an absurd frame rate", "have an absurd frame rate", "check the durations; re-encode what is wrong"),
    "variable_rate": (
        "has a variable frame rate",
        "have a variable frame rate",
        "nothing to do: frames are sampled by their time stamps; other tools may not do so",
    ),
    "tiny": ("is tiny", "are tiny", "use the originals if these are previews"),
    "dark": ("is black", "are black", "take them out if nothing can be seen"),
    "frozen": ("shows no motion", "show no motion", "take them out if they are stills or stuck recordings"),
    "header_duration": (
        "has another duration than its header states",
        "have another duration than their headers state",
        "they may be cut off; what can be decoded is used",
    ),
    "rotated": (
        "is rotated by its header",
        "are rotated by their headers",
        "nothing to do: frames are turned as players turn them",
    ),
    "grey": (
        "is without colour",
        "are without colour",
        "if only some classes are grey, a model learns the colour, not the action",
    ),
}


class View(NamedTuple):
    """What a model sees of a clip: `seconds` at `fps` frames a second, short side `size` pixels."""

    seconds: float
    fps: float
    size: int

    @property
    def least_seconds(self) -> float:
        """Of a clip that has all of its frames: it may lack less than half of one."""
        return self.seconds - 0.5 / self.fps


def decoded_seconds(frames: np.ndarray) -> float:
    """Seconds that the frames of a fingerprint cover, (T, SIDE, SIDE)."""
    return len(frames) / RATE


def motion(frames: np.ndarray) -> float | None:
    """How much the cell of a fingerprint's frames, uint16 (T, SIDE, SIDE), that changes most changes; None for one frame."""
    if len(frames) < 2:
        return None
    return float((frames.max(axis=0) - frames.min(axis=0)).max()) / UNIT


def brightness(frames: np.ndarray) -> float:
    """The largest mean of a frame of a fingerprint, uint16 (T, SIDE, SIDE)."""
    return float(frames.mean(axis=(1, 2)).max()) / UNIT


def suspicions(look: Look, frames: np.ndarray, view: View, median: float | None, images: bool) -> Iterator[Suspicion]:
    """What is odd about a video.

    Args:
      frames: of its fingerprint, uint16 (T, SIDE, SIDE).
      median: seconds, of all videos; None for a recording whose clips are segments of it, which may be long.
      images: whether it is a folder of images, of which only pixels can be odd.
    """
    decoded = decoded_seconds(frames)
    if not images:
        yield from _odd_times(look, decoded, view, median)
    if min(look.width, look.height) < view.size / 2:
        yield Suspicion(kind="tiny", text=f"{look.width}x{look.height} pixels; a view has {view.size}")
    if brightness(frames) < DARK:
        yield Suspicion(kind="dark", text="black" + _part(decoded))
    elif (moving := motion(frames)) is not None and decoded > 0.5 and moving < STILL:
        yield Suspicion(kind="frozen", text="no motion" + _part(decoded))
    if look.turned:
        yield Suspicion(kind="rotated", text="its header rotates or mirrors it")
    if look.colour < COLOURLESS:
        yield Suspicion(kind="grey", text="grey only")


def short_segments(seconds: Sequence[float], view: View) -> Iterator[Suspicion]:
    """What is odd about the segments of a recording, of which these lengths are known."""
    short = sum(length < view.least_seconds for length in seconds)
    if short:
        are = "segment is" if short == 1 else "segments are"
        text = f"{short} {are} shorter than a view, which takes {view.seconds:.1f} s; the shortest has {min(seconds):.1f} s"
        yield Suspicion(kind="short_segments", text=text)


def _part(decoded: float) -> str:
    return " in its first minute" if decoded >= SECONDS else ""


def _odd_times(look: Look, decoded: float, view: View, median: float | None) -> Iterator[Suspicion]:
    whole = decoded < SECONDS
    seconds = decoded if whole or look.seconds is None else look.seconds
    if decoded < view.least_seconds:
        yield Suspicion(kind="short", text=f"{decoded:.1f} s; a view takes {view.seconds:.1f} s")
    if median is not None and seconds > max(LONG_SECONDS, LONG_TIMES * median):
        yield Suspicion(kind="long", text=f"{seconds:,.0f} s; the median is {median:.1f} s")
    if look.fps is None or not MIN_FPS <= look.fps <= MAX_FPS:
        stated = "no usable rate" if look.fps is None else f"{look.fps:g} frames per second"
        yield Suspicion(kind="absurd_rate", text=f"its header states {stated}")
    elif look.fps < view.fps:
        yield Suspicion(kind="low_rate", text=f"{look.fps:g} frames per second; a view has {view.fps:g}")
    if look.uneven is not None and look.uneven > UNEVEN:
        yield Suspicion(kind="variable_rate", text=f"{look.uneven:.0%} of its frames last longer or shorter than the others")
    if whole and look.seconds is not None:
        off = abs(look.seconds - decoded)
        if off > max(HEADER_OFF_SECONDS, HEADER_OFF * look.seconds):
            yield Suspicion(
                kind="header_duration", text=f"its header states {look.seconds:.1f} s, {decoded:.1f} s can be decoded"
            )
