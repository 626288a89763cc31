"""Probabilities of the classes over time: the network on overlapping windows of a source.

A window has as many frames as the network saw in training, and its prediction describes the window's centre. That corrects the
delay of a causal network, whose prediction after a frame is an average over all frames so far, but for the little by which each
layer lags behind: CAUSAL_DELAY.

Invariants: only the frames of one window are in memory; windows do not depend on each other, so that those computed before an
interruption need not be computed again.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from pipeline.events.detection import Score
from pipeline.inference.models import CLIP_SECONDS, Predictor
from pipeline.inference.sources import Frame
from pipeline.inference.views import centre_square
from pipeline.video.decode import MICROSECONDS

OVERLAP = 4  # by default, each moment is in so many windows
# Frames by which the events of a causal network are late, measured with MoViNet-A0-Stream on joined clips (docs/events.md).
CAUSAL_DELAY = 2


class Windows(NamedTuple):
    """Windows of `count` frames, of which one starts every `stride` frames."""

    count: int
    stride: int

    @classmethod
    def of(cls, predictor: Predictor, window: float | None = None, stride: float | None = None) -> "Windows":
        """window, stride: in seconds; None: the length of the views that the network was trained on, and a part of the window."""
        if window is None:
            count = round(CLIP_SECONDS * predictor.fps) if predictor.sampling is None else predictor.sampling.count
        else:
            count = max(round(window * predictor.fps), 1)
        return cls(count, max(count // OVERLAP if stride is None else round(stride * predictor.fps), 1))


class WindowScorer:
    """Computes the score of each window of a source from its frames, given one by one.

    Attributes:
      end: of the latest frame, in seconds.
    """

    def __init__(self, predictor: Predictor, windows: Windows, *, skip: int = 0) -> None:
        """skip: the network is not run on so many first windows, whose scores are known."""
        self._predictor, self._windows, self._skip = predictor, windows, skip
        self._near: deque[Frame] = deque(maxlen=windows.count)
        self._frames = 0
        self._scored = 0  # number of frames until the end of the latest window
        self.end = 0.0

    def push(self, frame: Frame) -> list[Score]:
        """The score of the window that ends with this frame, if one does."""
        self._near.append(frame)
        self._frames += 1
        self.end = frame[0] / MICROSECONDS + 1 / self._predictor.fps
        over = self._frames - self._windows.count
        return self._next() if over >= 0 and over % self._windows.stride == 0 else []

    def close(self) -> list[Score]:
        """The score of the source's last frames, if no window ended with the last one; of a short source, of all frames."""
        return self._next() if self._frames > self._scored else []

    def _next(self) -> list[Score]:
        self._scored = self._frames
        if self._skip:
            self._skip -= 1
            return []
        frames = list(self._near)
        indices = np.unique(self._predictor.view_indices(len(frames)), axis=0)  # those of a short window are all the same
        size = self._predictor.size
        views = np.stack([np.stack([centre_square(frames[k][1], size) for k in view]) for view in indices.tolist()])
        start = frames[0][0] / MICROSECONDS
        centre = (start + self.end) / 2
        if self._predictor.causal:
            centre -= min(CAUSAL_DELAY / self._predictor.fps, (self.end - start) / 4)
        return [Score(centre, self._predictor.clip_probabilities(views))]
