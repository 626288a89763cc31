"""Finds the events of sources: their scores are stored while they are computed, live sources are followed while they go on."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from pipeline.console import UserError, progress, say, uninterrupted
from pipeline.events.defaults import Options, choose_settings
from pipeline.events.detection import DetectionSettings, EventFinder, Score
from pipeline.events.event import COLUMNS, Event, as_csv, clock_time
from pipeline.events.scores import Windows, WindowScorer
from pipeline.events.store import ScoreStore, open_store, scores_key
from pipeline.events.timeline import Timeline, build_timeline
from pipeline.inference.live import Live
from pipeline.inference.models import Predictor
from pipeline.inference.sources import Images, Source, Video, first_seconds
from pipeline.video.decode import MICROSECONDS, BrokenVideo, probe


class Found(NamedTuple):
    """The events of a source in the order of time, and its length in seconds. timeline: None if it was not asked for."""

    events: list[Event]
    seconds: float
    timeline: Timeline | None


@dataclass
class EventSearch:
    """Finds the events of sources.

    Attributes:
      windows: what the network is run on. settings: what an event is.
      seconds: only these first seconds of each source are read; None: all.
    """

    predictor: Predictor
    windows: Windows
    settings: DetectionSettings
    seconds: float | None = None

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        options: Options,
        *,
        window: float | None = None,
        stride: float | None = None,
        seconds: float | None = None,
    ) -> "EventSearch":
        """The search with defaults for what is not given; says which values are used. window, stride: seconds."""
        windows = Windows.of(predictor, window, stride)
        span = windows.count / predictor.fps
        settings, described = choose_settings(predictor, span, options)
        say(f"events: --window {span:.3g} --stride {windows.stride / predictor.fps:.3g} {described}")
        return cls(predictor, windows, settings, seconds)

    def find(self, source: Source, *, timeline: bool = False) -> Found:
        """The events of a source that ends. Raises UserError if it cannot be read."""
        rate = source.rate if isinstance(source, Images) else None
        files = _files(source)
        key = None if files is None else scores_key(files, [source.name, rate, self.seconds], self.predictor, self.windows)
        with open_store(key, len(self.predictor.classes)) as store:
            if store.end is None:
                self._score(source, store, kept=key is not None)
            else:
                say(f"{source.name}: using the scores of an earlier run in {_relative(store.folder)}")
            finder = self._finder(source.name)
            events = [event for score in store.scores() for event in finder.push(score)] + finder.close(store.end)
            events.sort(key=lambda event: (event.start, event.end, event.class_name))
            drawn = build_timeline(Path(source.name).name, store.end, events, store.thumbnails()) if timeline else None
            return Found(events, store.end, drawn)

    def _finder(self, name: str, start: float = 0.0) -> EventFinder:
        background = None if self.predictor.decision is None else self.predictor.decision.background
        step = 1 / self.predictor.fps
        return EventFinder(name, self.predictor.classes, self.settings, step=step, start=start, background=background)

    def _score(self, source: Source, store: ScoreStore, *, kept: bool) -> None:
        """Computes the scores that the store lacks. kept: whether the store is used by later runs."""
        known = store.count
        start = time.monotonic()
        scorer = WindowScorer(self.predictor, self.windows, skip=known)
        resumed = 0.0  # seconds of the source whose scores were known
        if known:
            resumed = (self.windows.count + (known - 1) * self.windows.stride) / self.predictor.fps
            say(f"{source.name}: resuming after {clock_time(resumed)}, which an earlier run scored")
        with progress(total=_length(source, self.seconds), describe="video", unit="s", unit_scale=True) as bar:
            for frame in first_seconds(source.frames(self.predictor.fps, self.predictor.size), self.seconds):
                store.add_thumbnail(frame)
                for score in scorer.push(frame):
                    store.add(score)
                bar.update(scorer.end - bar.n)
            for score in scorer.close():
                store.add(score)
            bar.total = bar.n
        store.finish(scorer.end)
        spent = time.monotonic() - start
        scored = max(scorer.end - resumed, 0.0)
        speed = f"{clock_time(scored)} scored in {clock_time(spent)}, {scored / spent:.3g}x real time"
        line = f"{clock_time(scorer.end)} of video; {speed}"
        if kept:
            line += f"; scores kept in {_relative(store.folder)}, so that other thresholds need no network"
        say(f"{source.name}: {line}")

    def follow(self, source: Source, emit: Callable[[Event], None]) -> None:
        """Gives `emit` each event of a live source as soon as it has ended.

        Ctrl-C ends the source; an event that is open then, or when frames are missing for longer than a window, ends there.
        """
        if isinstance(source, Live):
            # The network runs once a stride, on a whole window: the frames that come meanwhile wait.
            source = source._replace(backlog=2 * self.windows.stride)
        scorer, finder = WindowScorer(self.predictor, self.windows), self._finder(source.name)
        longest_gap = self.windows.count / self.predictor.fps
        try:
            for frame in first_seconds(source.frames(self.predictor.fps, self.predictor.size), self.seconds):
                now = frame[0] / MICROSECONDS
                if now - scorer.end > longest_gap:
                    self._end(scorer, finder, emit)
                    scorer, finder = WindowScorer(self.predictor, self.windows), self._finder(source.name, now)
                self._emit(scorer.push(frame), finder, emit)
        except KeyboardInterrupt:
            say(f"{source.name}: ended by an interrupt after {clock_time(scorer.end)}")
        except UserError:
            self._end(scorer, finder, emit)
            raise
        self._end(scorer, finder, emit)

    @staticmethod
    def _emit(scores: Iterable[Score], finder: EventFinder, emit: Callable[[Event], None]) -> None:
        with uninterrupted():  # an interrupt in here would lose events that the finder has handed over
            for score in scores:
                for event in finder.push(score):
                    emit(event)

    def _end(self, scorer: WindowScorer, finder: EventFinder, emit: Callable[[Event], None]) -> None:
        with uninterrupted():  # a second Ctrl-C would lose the event that is open
            self._emit(scorer.close(), finder, emit)
            for event in finder.close(scorer.end):
                emit(event)


def _relative(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _files(source: Source) -> list[Path] | None:
    """The files whose content is the source's; None for one at an address."""
    if isinstance(source, Images):
        return list(source.paths)
    if isinstance(source, Video):
        if not source.path.is_file():
            raise BrokenVideo(source.path, "there is no such file")
        return [source.path]
    return None


def _length(source: Source, seconds: float | None) -> float | None:
    """Seconds of the source that will be read, according to its header; None if unknown."""
    stated = probe(source.path).seconds if isinstance(source, Video) else None
    return min((length for length in (stated, seconds) if length is not None), default=None)


class LiveFile:
    """A CSV to which events are appended while they are found; each is on disk before the next is looked for."""

    def __init__(self, file: TextIO, header: bool) -> None:
        self._file = file
        if header:
            self._write(as_csv([]))

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())

    def add(self, event: Event) -> None:
        self._write(as_csv([event], header=False))


@contextmanager
def open_live_file(path: Path) -> Iterator[LiveFile]:
    """Opens a CSV to append events to; a file that is there must be one of events. Raises UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(path, "a+", newline="", encoding="utf-8")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UserError(f"--events {path}: cannot be appended to ({error.strerror})", advice="give another path") from None
    with opened as file:
        file.seek(0)
        first = file.readline().rstrip("\r\n")
        if first not in ("", ",".join(COLUMNS)):
            raise UserError(
                f"--events {path}: is not a file of events", advice="give another name; a live source's events are appended"
            )
        file.seek(0, os.SEEK_END)
        yield LiveFile(file, header=not first)
