"""Runs a network over a source frame by frame: a prediction after each frame, from all frames so far.

A stream MoViNet averages over all frames since its states were reset: after hours, new frames would hardly matter. So the states
can be reset at regular intervals; those of a camera or a stream are by default, and also after a cut: what comes then does not
continue what was before.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.inference.models import Predictor
from pipeline.inference.sources import Source, first_seconds
from pipeline.inference.stepper import Stepper, softmax
from pipeline.inference.views import centre_square
from pipeline.video.decode import MICROSECONDS

CAMERA_RESTART = 10.0  # seconds: the length of the clips that the published networks were trained on
CUT = 3.0  # seconds without a frame of a live source, after which another action is likely


class StreamedFrame(NamedTuple):
    """A frame and the prediction after it: its time in seconds, uint8 RGB (H, W, 3), probabilities float32 (N,)."""

    seconds: float
    image: np.ndarray
    probabilities: np.ndarray


def stream_frames(
    predictor: Predictor, stepper: Stepper, source: Source, *, seconds: float | None = None, restart: float | None = None
) -> Iterator[StreamedFrame]:
    """Yields each frame of the source's first `seconds` with the prediction after it.

    restart: seconds after which the states are reset, again and again; None: only at the start. Those of a live source are also
    reset after CUT seconds without a frame.
    """
    stepper.reset()
    reset_at = before = 0
    for timestamp, image in first_seconds(source.frames(predictor.fps, predictor.size), seconds):
        cut = source.live and timestamp - before >= CUT * MICROSECONDS
        before = timestamp
        if cut or (restart is not None and timestamp - reset_at >= restart * MICROSECONDS):
            stepper.reset()
            reset_at = timestamp
        logits = stepper.step(centre_square(image, predictor.size))
        predictor.check_outputs(logits)
        yield StreamedFrame(timestamp / MICROSECONDS, image, softmax(logits))
