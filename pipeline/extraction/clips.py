"""The clips that extract decodes, and what is said about damaged ones. No TensorFlow here: worker processes import this."""

from pathlib import Path
from typing import NamedTuple

from pipeline.console import UserError
from pipeline.video.decode import BrokenVideo, EncodedClip
from pipeline.video.segment import Segment

__all__ = ["Clip", "complaint", "damaged_error"]


class Clip(NamedTuple):
    """A row of the manifest, as far as the records need it.

    file: path below the folder of clips. segment: the part of it that is the clip; None: all of it.
    """

    id: str
    label: int
    text: str
    group: str
    bytes: int
    file: str
    segment: Segment | None


def complaint(result: EncodedClip | BrokenVideo) -> str:
    """What is wrong with a clip; empty if nothing is."""
    return result.reason if isinstance(result, BrokenVideo) else str(result.damage or "")


def damaged_error(clips_dir: Path, clip: Clip, why: str) -> UserError:
    """The error of a damaged clip with frames.on_error = fail."""
    segment = "" if clip.segment is None else f", {clip.segment} s"
    advice = "replace the file, or set frames.on_error to keep or skip"
    return UserError(f"{clips_dir / clip.file}{segment}: {why}", advice=advice)
