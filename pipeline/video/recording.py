"""Cuts a recording into segments while reading it once, to the end of the last segment. No TensorFlow here.

Invariants:

- Frame k of a segment is what a player shows at start + k/fps seconds of the recording, for every such time before the segment's
  end; if the start is a multiple of 1/fps, it is the frame that the decoded recording has at that time (see `decode`).
- Times are exact: a start of 0.1 is a tenth of a second. As listings round to milliseconds, a time within ROUNDED of a multiple
  of 1/fps is that multiple, and another start that lies as closely before a frame is that frame's. The times of a segment's
  frames count from its start.
- What lies between segments is not decoded where the file's timestamps allow it (see `gaps`).
- A frame that overlapping segments show is converted once. Only the frames of segments that have not ended are in memory.
- Damage counts in the segments in which it lies, and in no other.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import partial
from itertools import chain, takewhile
from pathlib import Path

import av
import cv2

from .container import BrokenVideo, Damage, Orientation, VideoFile
from .decode import EncodedClip, encode_jpeg, exact_rate, frame_size, frame_time, resize_frame
from .gaps import skip_groups
from .segment import Segment

__all__ = ["encode_segments"]

ROUNDED = Fraction(1, 2000)  # seconds by which a time that is written in milliseconds may be wrong


def _on_grid(time: Fraction, rate: Fraction) -> Fraction:
    multiple = round(time * rate) / rate
    return multiple if abs(multiple - time) <= ROUNDED else time


class _Cut:
    """A segment, in ticks of the clock of its recording, and what has been found in it so far."""

    def __init__(self, number: int, segment: Segment, rate: Fraction, second: int):
        self.number = number
        start, end = (None if time is None else _on_grid(time, rate) * second for time in segment.exact)
        self.on_grid = start % (second / rate) == 0
        self.start = math.floor(start)
        # Frame k is due at start + k * step. For a whole number of ticks n, n < x is n < ceil(x); start's fraction is constant.
        self.end = math.inf if end is None else math.ceil(end - (start - self.start))
        self.due = self.start
        self.jpegs: list[bytes] = []
        self.timestamps: list[int] = []
        self.broken: BrokenVideo | None = None  # a frame of it could not be converted
        self.decoded = self.failed = self.repaired = 0
        self.damaged_at: int | None = None

    def begin(self, time: int) -> None:
        """Moves the start to a frame."""
        self.start = self.due = time

    def note_fault(self, time: int, repaired: bool) -> None:
        self.repaired += repaired
        self.failed += not repaired
        self.damaged_at = time if self.damaged_at is None else min(time, self.damaged_at)


class _Picture:
    """A decoded frame, converted to JPEG when a segment first shows it."""

    def __init__(self, time: int, frame: av.VideoFrame):
        self.time, self.frame = time, frame
        self._jpeg: bytes | None = None

    def jpeg(self, video: VideoFile, target: tuple[int, int], orientation: Orientation, quality: int) -> bytes:
        if self._jpeg is None:
            image = orientation.apply(resize_frame(video.pixels(self.frame, "bgr24"), target))
            self._jpeg = encode_jpeg(image, quality, video.path)
        return self._jpeg


class _Cutter:
    """The segments of a recording while it is decoded: those whose time has not come, and those whose frames come now."""

    def __init__(self, video: VideoFile, segments: Sequence[Segment], rate: Fraction, size: int, quality: int):
        self.video, self.rate, self.size, self.quality = video, rate, size, quality
        self.clock = video.clock(rate)
        cuts = [_Cut(number, segment, rate, self.clock.second) for number, segment in enumerate(segments)]
        self.waiting = deque(sorted(cuts, key=lambda cut: (cut.start, cut.end)))
        self.current: list[_Cut] = []
        self._rounded = ROUNDED * self.clock.second
        self.last = max(cut.end for cut in cuts)
        self._faults = 0  # of the video's faults, how many have been attributed
        self._target: tuple[int, int] | None = None  # size and orientation are those of the first frame, as in `decode`
        self._orientation = Orientation()

    def show(self, picture: _Picture, until: int) -> None:
        """Adds a frame, which is shown until `until`, to the segments that it lies in."""
        if self._target is None:
            width, height, self._orientation = self.video.shape(picture.frame)
            self._target = frame_size(width, height, self.size)
        for cut in self.waiting:
            if cut.start >= until:
                break
            if not cut.on_grid and until - cut.start <= self._rounded:
                cut.begin(until)
        while self.waiting and self.waiting[0].start < until:
            self.current.append(self.waiting.popleft())
        for cut in self.current:
            cut.decoded += 1
            while cut.due < min(until, cut.end) and cut.broken is None:
                try:
                    cut.jpegs.append(picture.jpeg(self.video, self._target, self._orientation, self.quality))
                except BrokenVideo as error:
                    cut.broken = error
                cut.timestamps.append(frame_time(len(cut.timestamps), self.rate))
                cut.due += self.clock.due

    def needs(self, first: int, until: float) -> bool:
        """Whether a segment that has not ended lies within a second of the timestamps `first` to `until`."""
        if not self.clock.started:
            return True
        start = self.clock.elapsed(first) - self.clock.second
        end = until if until == math.inf else self.clock.elapsed(until) + self.clock.second
        waiting = takewhile(lambda cut: cut.start < end, self.waiting)
        return any(start < cut.end for cut in chain(self.current, waiting))

    def attribute_faults(self) -> None:
        """Counts new faults in the segments in which a frame of that time would be shown."""
        for fault in self.video.faults[self._faults :]:
            for cut in (*self.current, *self.waiting):
                if cut.start < fault.time + (self.clock.period or 0) and fault.time < cut.end:
                    cut.note_fault(fault.time, fault.repaired)
        self._faults = len(self.video.faults)

    def take(self, until: float) -> Iterator[tuple[int, EncodedClip | BrokenVideo]]:
        """The segments that end by `until`, in ticks, by their numbers."""
        ended = [cut for cut in self.current if cut.end <= until]
        if ended:
            self.current = [cut for cut in self.current if cut.end > until]
            yield from ((cut.number, self._result(cut, missing=0)) for cut in ended)

    def take_rest(self, failure: BrokenVideo | None) -> Iterator[tuple[int, EncodedClip | BrokenVideo]]:
        """All other segments, of which the recording holds the beginning or nothing. failure: why decoding ended, if known."""
        ended = self.clock.end if self.video.decoded else 0
        stated = self.video.intended_seconds
        for cut in (*self.current, *self.waiting):
            if cut.jpegs or cut.broken:
                yield cut.number, self._result(cut, self._missing(cut, ended, stated))
            elif failure is not None and not self.video.decoded:
                yield cut.number, failure
            else:
                why = f" ({failure.reason})" if failure is not None else ""
                start, seconds = cut.start / self.clock.second, self.clock.seconds(ended)
                message = f"no frame: it starts at {start:.1f} s, and the recording can be decoded until {seconds:.1f} s{why}"
                yield cut.number, BrokenVideo(self.video.path, message)

    def _missing(self, cut: _Cut, ended: int, stated: float | None) -> int:
        """How many frames lack at the end of a segment by the header; headers are often wrong by one, which does not count."""
        if stated is None or self.clock.period is None:
            return int(self.video.ended_early)
        start, until = max(ended, cut.start), min(cut.end, stated * self.clock.second)
        missing = int((until - start) / self.clock.period)
        counted = sum(not fault.repaired and start <= fault.time < until for fault in self.video.faults)
        return max(missing - counted if missing > 1 else 0, int(self.video.ended_early))

    def _result(self, cut: _Cut, missing: int) -> EncodedClip | BrokenVideo:
        if cut.broken is not None:
            return cut.broken
        expected = cut.decoded + cut.failed + missing
        if 2 * cut.decoded < expected:
            message = f"truncated: {cut.decoded} of the {expected} frames that it should hold can be decoded"
            return BrokenVideo(self.video.path, message)
        if expected == cut.decoded and not cut.repaired:
            return EncodedClip(cut.jpegs, cut.timestamps)
        at = None if cut.damaged_at is None else self.clock.seconds(max(0, cut.damaged_at - cut.start))
        return EncodedClip(cut.jpegs, cut.timestamps, Damage(cut.decoded, expected, cut.repaired, at))


def encode_segments(
    path: Path, segments: Sequence[Segment], fps: float, size: int, quality: int
) -> Iterator[tuple[int, EncodedClip | BrokenVideo]]:
    """Yields (index in `segments`, its frames as JPEG of `quality`) for each segment as soon as it has ended.

    fps: output frames a second. size: pixels of the short side, as of the whole recording. The damage and the frames that are
    expected are those of the segment. Instead of a segment of which no frame, or less than half, can be decoded, its error is
    yielded; a recording that breaks halfway still gives the segments before.
    """
    cv2.setNumThreads(1)  # the recordings are the parallelism
    done = set()
    try:
        with VideoFile(path) as video:
            for number, result in _cut(video, segments, exact_rate(fps), size, quality):
                done.add(number)
                yield number, result
    except BrokenVideo as error:
        yield from ((number, error) for number in range(len(segments)) if number not in done)


def _cut(
    video: VideoFile, segments: Sequence[Segment], rate: Fraction, size: int, quality: int
) -> Iterator[tuple[int, EncodedClip | BrokenVideo]]:
    cutter = _Cutter(video, segments, rate, size, quality)
    before: _Picture | None = None
    failure: BrokenVideo | None = None
    # Without a constant rate in the header a clock may derive the time of a frame from the frames before.
    predictable = video.fps is not None and not video.only_dts
    choose = partial(skip_groups, needed=cutter.needs) if predictable else iter
    with closing(video.frames(cutter.clock, choose)) as frames:
        try:
            for time, frame in frames:
                if before is not None:
                    cutter.show(before, time)
                cutter.attribute_faults()
                yield from cutter.take(time)
                if time >= cutter.last:
                    return
                before = _Picture(time, frame)
        except BrokenVideo as error:
            failure = error
    if before is not None:
        cutter.show(before, cutter.clock.end)
    cutter.attribute_faults()
    yield from cutter.take(cutter.clock.end)
    yield from cutter.take_rest(failure)
