"""Live sources: cameras and network streams, of which a thread keeps the newest frame, and to which it reconnects after a cut.

Invariants:

- The classifier receives the newest frame whenever the next one is due at the model's frame rate, however slow it is: delays do
  not add up. Frames between two that are due are skipped; a frame that was due but never received was dropped, and is counted.
  With a `backlog` above 1 so many frames that were due may wait, for a classifier that is slow at some frames but not at others.
- A frame's time is the wall clock's from the first frame on, also after a cut: a cut is a gap in the times.
- Nothing waits for ever: the thread that asks for frames keeps all deadlines, even while the one that reads hangs in a library.
  The latter cannot be interrupted there, only left behind; it ends when the library's own timeout does.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from pipeline.console import UserError, say
from pipeline.inference.connections import HEED, Connection, Lost, Picture
from pipeline.video.decode import MICROSECONDS

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between attempts to reconnect; doubled each time
GRACE = 0.5  # seconds that a library may exceed its own timeout
NOTE_EVERY = 60.0  # seconds between notes about dropped frames
MANY = 0.2  # share of dropped frames, and of missing ones, that is worth a note


class Patience(NamedTuple):
    """How long to wait.

    Attributes:
      timeout: seconds for the first frame of a connection, and then for the next.
      reconnect: seconds since the last frame after which a lost connection is given up; may be infinite.
    """

    timeout: float = 10.0
    reconnect: float = 60.0


DEFAULT_PATIENCE = Patience()


class Counts(NamedTuple):
    """Frames that the classifier received, and that were due but never received; cuts, and the seconds without frames in them;
    damaged packets."""

    used: int = 0
    dropped: int = 0
    cuts: int = 0
    lost: float = 0.0
    damaged: int = 0

    def since(self, before: "Counts") -> "Counts":
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def share(self) -> float:
        """Share of the frames that were due that was dropped."""
        return self.dropped / (self.used + self.dropped) if self.used else 0.0


class Reader:
    """Reads a source in a thread. A context manager.

    backlog: number of frames that may wait to be taken.

    Attributes:
      counts: up to the last frame taken.
    """

    def __init__(
        self, name: str, connect: Callable[[float], Connection], fps: float, patience: Patience, advice: str, backlog: int = 1
    ) -> None:
        self._name, self._connect, self._fps, self._patience, self._advice = name, connect, fps, patience, advice
        self._stop = threading.Event()
        self._changed = threading.Condition()  # guards all of the following
        self.counts = Counts()
        self._waiting: deque[tuple[float, Picture]] = deque()
        self._backlog = backlog
        self._dropped = 0  # frames that became due, and did not wait, since the last one was taken
        self._due = 0.0
        self._latest: float | None = None  # when the newest frame came
        self._reason: str | None = None  # why there is no connection; None while there is one
        self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)

    def __enter__(self) -> "Reader":
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(GRACE)

    def _read(self) -> None:
        """Connects again and again until the source ends or nobody asks for frames."""
        wait = FIRST_WAIT
        try:
            while not self._stop.is_set():
                opened = time.monotonic()
                try:
                    with closing(self._connect(self._patience.timeout)) as connection:
                        damaged = self.counts.damaged  # of the connections before
                        for picture in connection.pictures(self._stop):
                            self._deliver(picture, damaged + connection.damaged)
                    break
                except Lost as loss:
                    self._lose(str(loss))
                if time.monotonic() - opened > 2 * LONGEST_WAIT:  # so that a server which cuts at once is not asked all the time
                    wait = FIRST_WAIT
                self._stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
        except Exception as error:  # raised by `take`, in the thread that can handle it
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _deliver(self, picture: Picture, damaged: int) -> None:
        now = time.monotonic()
        with self._changed:
            self.counts = self.counts._replace(damaged=damaged)
            if self._reason is not None and self._latest is not None:
                lost = now - self._latest
                self.counts = self.counts._replace(cuts=self.counts.cuts + 1, lost=self.counts.lost + lost)
                say(f"note: {self._name}: back after {lost:.1f} s without a frame")
            self._latest, self._reason = now, None
            due = now >= self._due - 0.25 / self._fps  # frames come a little early or late
            if due:
                self._due += 1 / self._fps
                if self._due < now:  # at the start, after a cut, or of a source slower than the model: a new schedule
                    self._due = now + 1 / self._fps
            if due and len(self._waiting) < self._backlog:
                self._waiting.append((now, picture))
            elif len(self._waiting) == self._backlog:  # also if none is due: the newest frame shows best what is there now
                self._waiting[-1] = now, picture
                self._dropped += due
            if due:
                self._changed.notify()

    def _lose(self, reason: str) -> None:
        with self._changed:
            if self._stop.is_set():
                return
            if self._reason is None and self._latest is not None:
                wait = f"; reconnecting for up to {self._patience.reconnect:g} s" if self._patience.reconnect else ""
                say(f"warning: {self._name}: connection lost: {reason}{wait}")
            self._reason = reason
            self._changed.notify()

    def take(self) -> tuple[float, Picture] | None:
        """The frame that waits for longest, by default the newest, and when it came, as soon as one is due; None at the end.

        Raises UserError if the source cannot be opened, or is lost for longer than `patience.reconnect`.
        """
        timeout, reconnect = self._patience
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self._waiting:
                    used, dropped, *others = self.counts
                    self.counts = Counts(used + 1, dropped + self._dropped, *others)
                    self._dropped = 0
                    return self._waiting.popleft()
                if self._ended:
                    return None
                now = time.monotonic()
                if self._latest is None:
                    until = self._started + timeout + GRACE
                    if self._reason is not None or now >= until:
                        raise UserError(f"{self._name}: {self._reason or f'no video within {timeout:g} s'}", advice=self._advice)
                elif self._reason is None:
                    until = self._latest + timeout + GRACE
                    if now >= until:
                        self._lose(f"no frame for {timeout:g} s")
                        continue
                else:
                    until = self._latest + reconnect
                    if now >= until:
                        message = f"{self._name}: gave up {now - self._latest:.0f} s after its last frame: {self._reason}"
                        raise UserError(message, advice=self._advice)
                self._changed.wait(min(until - now, HEED))


class Live(NamedTuple):
    """A camera or a stream.

    connect: opens it, with a timeout in seconds. advice: what to do if that fails. backlog: see `Reader`.
    """

    name: str
    connect: Callable[[float], Connection]
    advice: str
    patience: Patience = DEFAULT_PATIENCE
    backlog: int = 1
    live: bool = True

    def frames(self, fps: float, size: int) -> Iterator[tuple[int, np.ndarray]]:
        start = noted_at = now = None
        noted = Counts()
        with Reader(self.name, self.connect, fps, self.patience, self.advice, self.backlog) as reader:
            try:
                while (taken := reader.take()) is not None:
                    now, picture = taken
                    start = now if start is None else start
                    noted_at = now if noted_at is None else noted_at
                    yield round((now - start) * MICROSECONDS), picture(size)
                    if now - noted_at >= NOTE_EVERY:
                        if (recent := reader.counts.since(noted)).share > MANY:
                            say(f"note: {self.name}: {_dropped(recent)} in the last {now - noted_at:.0f} s")
                        noted, noted_at = reader.counts, now
            finally:
                if start is not None:
                    self._summarise(reader.counts, now - start, fps)

    def _summarise(self, counts: Counts, seconds: float, fps: float) -> None:
        cuts = f"; {counts.cuts} cut{'s' * (counts.cuts > 1)}, {counts.lost:.1f} s lost" if counts.cuts else ""
        damaged = f"; {counts.damaged} damaged packets" if counts.damaged else ""
        say(f"{self.name}: {counts.used} frames in {seconds:.1f} s, {_dropped(counts)}{damaged}{cuts}")
        watched = seconds - counts.lost
        if counts.used - 1 < (1 - MANY) * watched * fps:
            actual = f"{(counts.used - 1) / watched:.1f} frames a second were processed"
            say(f"note: {self.name}: {actual}, the network was trained at {fps:g}: accuracy may suffer")


def _dropped(counts: Counts) -> str:
    return f"{counts.dropped} dropped because the classifier was too slow ({100 * counts.share:.0f}%)"
