"""The display time of each frame of a video, from the timestamps of its container and decoder.

Invariants: times start at 0, never decrease, and are exact: integer multiples of a tick, as are the container's time base, the
header's frame period and the period of the output rate. (Fractions would add a tenth to the time of decoding.)
"""

from fractions import Fraction

TOLERANCE_MS = 1  # Matroska and WebM round times to whole milliseconds
MAX_SOURCE_FPS = 1000  # a higher rate in the header is wrong, and so are times closer than its period


class UselessTimesError(Exception):
    """Neither the header's frame rate nor the timestamps give display times."""


class _BestEffort:
    """Chooses between a frame's presentation timestamp (pts) and its packet's decoding timestamp (dts).

    FFmpeg's rule (`guess_correct_pts` of libavcodec, `best_effort_timestamp` in ffprobe): the kind that has decreased less often.
    An AVI stores no presentation times, and those that the demuxer derives are wrong with B-frames, so only dts is used there.
    """

    def __init__(self, only_dts: bool) -> None:
        self._only_dts = only_dts
        self._faults = {"pts": 0, "dts": 0}
        self._last: dict[str, int | None] = {"pts": None, "dts": None}

    def _note(self, kind: str, value: int | None, other: int | None) -> None:
        last = self._last[kind]
        if value is not None:
            self._faults[kind] += last is not None and value <= last
            self._last[kind] = value
        elif other is not None:
            self._last[kind] = other

    def choose(self, pts: int | None, dts: int | None) -> int | None:
        if self._only_dts:
            return dts
        self._note("dts", dts, pts)
        self._note("pts", pts, dts)
        if pts is not None and (dts is None or self._faults["pts"] <= self._faults["dts"]):
            return pts
        return dts


class FrameClock:
    """Converts the timestamps of frames, in display order, into ticks from the first frame.

    A time within TOLERANCE_MS of a multiple of the header's frame period becomes that multiple. A frame without a usable time
    (FFmpeg reports none for the last frame of AVIs with B-frames) starts one period after the previous frame. The period is the
    header's, or else the time between the last two frames.

    Attributes:
      second, due: ticks per second, and per output frame at `rate`.
      time: start of the latest frame.
      period: ticks until the next frame; None if unknown.
    """

    def __init__(self, time_base: Fraction, source_fps: Fraction | None, rate: Fraction, *, only_dts: bool = False) -> None:
        """time_base: seconds per unit of the timestamps. source_fps: the header's rate; None if unusable.

        rate: output frames per second.
        """
        source = source_fps or Fraction(1)
        self._unit = time_base.numerator * rate.numerator * source.numerator
        self.second = time_base.denominator * rate.numerator * source.numerator
        self.due = self.second * rate.denominator // rate.numerator
        self.time = 0
        self.period = self.second * source.denominator // source.numerator if source_fps else None
        self._tolerance = self.second * TOLERANCE_MS // 1000
        self._steady = source_fps is not None
        self._timestamps = _BestEffort(only_dts)
        self._origin: int | None = None
        self._latest = 0
        self._duration = 0

    def tick(self, pts: int | None, dts: int | None, duration: int = 0) -> int:
        """Returns the start of the next frame, in ticks. Raises UselessTimesError.

        pts, dts, duration: of the frame, in the container's unit; unknown ones are None, None and 0.
        """
        self._duration = duration * self._unit
        timestamp = self._timestamps.choose(pts, dts)
        if self._origin is None:
            self._origin = 0 if timestamp is None else timestamp
            return self.time
        elapsed = self._latest if timestamp is None else (timestamp - self._origin) * self._unit
        untimed = elapsed <= self._latest
        if not self._steady and (self.period is None or not untimed):
            step = elapsed - self._latest
            if step * MAX_SOURCE_FPS < self.second:
                raise UselessTimesError
            self.period = step
        if untimed:
            self.time += self.period
            return self.time
        self._latest = elapsed
        self.time = max(self.time, self._nearest(elapsed))
        return self.time

    def _nearest(self, elapsed: int) -> int:
        """Rounds `elapsed` to a multiple of the header's period if that is within the tolerance."""
        if self._steady:
            multiple = (2 * elapsed + self.period) // (2 * self.period) * self.period
            if abs(multiple - elapsed) <= self._tolerance:
                return multiple
        return elapsed

    @property
    def started(self) -> bool:
        """Whether the first frame is known, from which times count."""
        return self._origin is not None

    @property
    def end(self) -> int:
        """When the latest frame ends if no other follows."""
        return self.time + (self._duration or self.period or self._tolerance)

    def elapsed(self, timestamp: int) -> int:
        """Ticks from the first frame to `timestamp`, in the container's unit; 0 before the first frame is known."""
        return 0 if self._origin is None else max(0, (timestamp - self._origin) * self._unit)

    def seconds(self, ticks: int) -> float:
        return ticks / self.second
