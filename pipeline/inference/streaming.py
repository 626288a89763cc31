"""A source frame by frame: what the network says after each frame of all frames so far.

The network averages over all frames since its states were fresh: over hours, new frames would hardly count. So a stream can be
started afresh every few seconds, and a camera's is.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.inference.models import Predictor
from pipeline.inference.sources import Source, limited
from pipeline.inference.stepper import Stepper, softmax
from pipeline.inference.views import square
from pipeline.video.decode import MICROSECONDS

CAMERA_RESTART = 10.0  # seconds: the length of the clips that the published networks learnt from


class Step(NamedTuple):
    """What is known after a frame: its time in seconds, the frame itself uint8 RGB (H, W, 3), probabilities float32 (N,)."""

    seconds: float
    image: np.ndarray
    probabilities: np.ndarray


def steps(
    predictor: Predictor, stepper: Stepper, source: Source, *, seconds: float | None = None, restart: float | None = None
) -> Iterator[Step]:
    """Yields a step a frame of the source's first `seconds`, with fresh states at the start and every `restart` seconds."""
    stepper.reset()
    since = 0
    for timestamp, image in limited(source.frames(predictor.fps, predictor.size), seconds):
        if restart is not None and timestamp - since >= restart * MICROSECONDS:
            stepper.reset()
            since = timestamp
        logits = predictor.named(stepper.step(square(image, predictor.size)))
        yield Step(timestamp / MICROSECONDS, image, softmax(logits))
