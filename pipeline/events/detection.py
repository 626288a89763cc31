"""Finds events in probabilities over time, while they arrive.

An event of a class begins where its smoothed probability reaches `high` and lasts while that is at least `low` (two thresholds, a
Schmitt trigger: a probability that wavers around one threshold would cut an event into pieces). Events of a class with at most
`gap` seconds between them are one; then those shorter than `shortest` are dropped. Each class is treated alone.

Invariants: the memory needed does not grow with the length of the source; a source that ends gives the same events as one that is
read later from a file of its probabilities.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.events.event import Event


class Score(NamedTuple):
    """Probabilities float32 (N,) of a moment: `seconds` is the centre of the part of the source that they describe."""

    seconds: float
    probabilities: np.ndarray


@dataclass(frozen=True)
class DetectionSettings:
    """What an event is; see the module.

    Attributes:
      high, low: probabilities, high >= low. smooth: seconds of the moving average over probabilities; 0: none.
      shortest, gap: seconds.
    """

    high: float
    low: float
    smooth: float
    shortest: float
    gap: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 1:
            raise ValueError(f"low {self.low} and high {self.high} must be probabilities above 0, low at most high")


class Grid:
    """Interpolates scores linearly to the middles of steps of `step` seconds, from the step in which `start` lies.

    Before the first score and after the last, the probabilities are theirs.
    """

    def __init__(self, step: float, start: float = 0.0) -> None:
        self._step, self._count = step, int(start / step)
        self._before: Score | None = None

    def push(self, score: Score) -> list[Score]:
        """The scores of the grid up to this one; scores come in the order of time."""
        before, self._before = self._before or score, score
        found = []
        while (middle := (self._count + 0.5) * self._step) <= score.seconds:
            part = (
                np.float32((middle - before.seconds) / (score.seconds - before.seconds)) if score is not before else np.float32(1)
            )
            found.append(Score(middle, (1 - part) * before.probabilities + part * score.probabilities))
            self._count += 1
        return found

    def close(self, end: float | None) -> list[Score]:
        """The rest until `end`, the end of the source in seconds; None: until the last score."""
        if self._before is None:
            return []
        end = self._before.seconds if end is None else end
        return [Score((k + 0.5) * self._step, self._before.probabilities) for k in range(self._count, round(end / self._step))]


class MovingAverage:
    """The centred moving average of an odd number of `steps` scores on a grid; of fewer at both ends."""

    def __init__(self, steps: int) -> None:
        self._half = steps // 2
        self._near: deque[Score] = deque(maxlen=2 * self._half + 1)
        self._position = 0  # in `_near`, of the score whose average is next

    def push(self, score: Score) -> list[Score]:
        self._position -= len(self._near) == self._near.maxlen
        self._near.append(score)
        return [self._next()] if len(self._near) - self._position > self._half else []

    def close(self) -> list[Score]:
        return [self._next() for _ in range(len(self._near) - self._position)]

    def _next(self) -> Score:
        position = self._position
        self._position += 1
        around = range(max(position - self._half, 0), min(position + self._half + 1, len(self._near)))
        mean = np.mean([self._near[k].probabilities for k in around], axis=0, dtype=np.float32)
        return Score(self._near[position].seconds, mean)


@dataclass
class _Run:
    """An event that is not finished. total: sum of the probabilities of its `steps`, for their mean."""

    start: float
    end: float
    total: float = 0.0
    steps: int = 0

    def add(self, end: float, probability: float) -> None:
        self.end = end
        self.total += probability
        self.steps += 1


class Detector:
    """Finds the events of one source; give it the scores of a grid one by one.

    `push` returns the events that have ended for certain, that is, `gap` seconds after their end. Their confidence is the mean
    smoothed probability of the class in the event.
    """

    def __init__(
        self, source: str, classes: Sequence[str], settings: DetectionSettings, *, step: float, background: str | None = None
    ) -> None:
        """step: seconds of the grid. background: a class that is never an event."""
        self._source, self._classes, self._settings, self._step = source, list(classes), settings, step
        self._ignored = self._classes.index(background) if background is not None else None
        self._open: dict[int, _Run] = {}
        self._waiting: dict[int, _Run] = {}  # ended, but the same class may come back within the gap

    def push(self, score: Score) -> list[Event]:
        start, end = score.seconds - self._step / 2, score.seconds + self._step / 2
        probabilities = score.probabilities
        for index in [k for k in self._open if probabilities[k] < self._settings.low]:
            self._waiting[index] = self._open.pop(index)
        finished = self._expired(start)
        for index in np.flatnonzero(probabilities >= self._settings.low).tolist():
            if index == self._ignored:
                continue
            if index not in self._open and probabilities[index] >= self._settings.high:
                self._open[index] = self._waiting.pop(index, None) or _Run(start, end)
            if index in self._open:
                self._open[index].add(end, float(probabilities[index]))
        return finished

    def close(self) -> list[Event]:
        """The events that are still open when the source ends."""
        self._waiting |= self._open
        self._open.clear()
        return self._expired(float("inf"))

    def _expired(self, now: float) -> list[Event]:
        over = [index for index, run in self._waiting.items() if now - run.end > self._settings.gap + 1e-6]
        runs = [(index, self._waiting.pop(index)) for index in over]
        shortest = self._settings.shortest - 1e-6
        return sorted(self._event(index, run) for index, run in runs if run.end - run.start >= shortest)

    def _event(self, index: int, run: _Run) -> Event:
        return Event(self._source, run.start, run.end, self._classes[index], run.total / run.steps)


def odd_steps(seconds: float, step: float) -> int:
    """The odd number of grid steps nearest to `seconds`, at least 1."""
    return 2 * max(round((seconds / step - 1) / 2), 0) + 1


class EventFinder:
    """Finds the events of one source in its scores: grid, moving average, thresholds.

    `push` and `close` return events in the order in which they end.
    """

    def __init__(
        self,
        source: str,
        classes: Sequence[str],
        settings: DetectionSettings,
        *,
        step: float,
        start: float = 0.0,
        background: str | None = None,
    ) -> None:
        """step: seconds of the grid, to which boundaries are precise. start: of the source, or of a part of it, in seconds.

        background: a class that is never an event.
        """
        self._grid = Grid(step, start)
        self._average = MovingAverage(odd_steps(settings.smooth, step))
        self._detector = Detector(source, classes, settings, step=step, background=background)

    def push(self, score: Score) -> list[Event]:
        return [event for point in self._grid.push(score) for event in self._on_grid(point)]

    def _on_grid(self, point: Score) -> list[Event]:
        return [event for mean in self._average.push(point) for event in self._detector.push(mean)]

    def close(self, end: float | None = None) -> list[Event]:
        """The remaining events. end: of the source, in seconds; None: the last score."""
        found = [event for point in self._grid.close(end) for event in self._on_grid(point)]
        found += [event for mean in self._average.close() for event in self._detector.push(mean)]
        return found + self._detector.close()
