"""Fingerprints of clips for the search for duplicates: small grey frames on a fixed grid of time. No TensorFlow here."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.video.decode import BrokenVideo

__all__ = ["RATE", "SECONDS", "SIDE", "Fingerprint", "fingerprint", "fingerprints"]

RATE = 10  # frames a second
SECONDS = 60  # of a clip that are looked at
SIDE = 16  # pixels


class Fingerprint(NamedTuple):
    """What a clip looks like.

    Attributes:
      frames: uint8 (T, SIDE, SIDE), grey: what a player shows at every 1/RATE s of the first SECONDS, whatever its proportions. Of a
        folder of images, each of the first RATE * SECONDS images.
      sha256: of the file's content, hexadecimal; of a folder of images, that of their names and digests.
    """

    frames: np.ndarray
    sha256: str


def fingerprint(path: Path) -> Fingerprint:
    """The fingerprint of a video or a folder of images. Raises BrokenVideo."""
    raise NotImplementedError


def fingerprints(files: Mapping[str, Path], workers: int | None = None) -> dict[str, Fingerprint | BrokenVideo]:
    """Fingerprints of videos or folders of images by name, in the order of `files`; the error of one that cannot be decoded.

    They are computed in parallel, behind a progress bar, and kept in `.cache/fingerprints` by content.

    workers: processes; None: one per core.
    """
    raise NotImplementedError
