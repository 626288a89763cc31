"""The output of a search for events: lines on stdout, a file, a page or a picture."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import UserError, print_line, say, without_credentials
from pipeline.events.event import Event, as_csv, as_json_line, as_text, file_text
from pipeline.events.run import EventSearch, open_live_file
from pipeline.events.timeline import Timeline
from pipeline.files import atomic_file, write_text
from pipeline.inference.live import DEFAULT_PATIENCE, Patience
from pipeline.inference.sources import Source, find_sources


@dataclass
class EventRun:
    """Finds the events of several sources; prints, writes and draws them.

    Attributes:
      form: text, json or csv: of the lines on stdout.
      file: for all events, CSV or JSON by its suffix; None: none.
      timeline: the page or picture to draw; only of a single source.
    """

    search: EventSearch
    form: str = "text"
    rate: float | None = None
    patience: Patience = DEFAULT_PATIENCE
    file: Path | None = None
    timeline: Path | None = None
    emit: Callable[[str], None] = print_line
    failures: int = 0

    def run(self, names: Sequence[str]) -> int:
        """Finds the events of every source; returns the number of failures. Raises UserError for errors that concern all."""
        sources: list[Source] = []
        for name in names:
            with self._reported(without_credentials(name)):
                sources += find_sources(name, self.rate, self.patience)
        if self.timeline is not None and len(sources) > 1:
            raise UserError(f"--timeline {self.timeline}: shows a single source, but {len(sources)} are given")
        if self.form == "csv":
            self.emit(as_csv([]).rstrip("\n"))
        live = [source for source in sources if source.live]
        if live:
            self._follow(live[0], len(sources))
            return self.failures
        searched = 0
        events: list[Event] = []
        drawn: Timeline | None = None
        for source in sources:
            with self._reported(source.name):
                found = self.search.find(source, timeline=self.timeline is not None)
                searched += 1
                events += found.events
                if self.form == "text":
                    self.emit(f"{source.name}: {len(found.events)} event{'s' * (len(found.events) != 1)}")
                for event in found.events:
                    self._show(event)
                drawn = found.timeline
        if self.file is not None and searched:  # else an earlier file, perhaps of a camera that is gone, stays as it is
            write_text(self.file, file_text(self.file, events))
            say(f"written: {self.file}")
        if drawn is not None:
            _draw_timeline(self.timeline, drawn)
        return self.failures

    def _follow(self, source: Source, count: int) -> None:
        """Shows the events of a live source, and appends them to the file, as soon as they have ended."""
        if count > 1:
            raise UserError(f"{source.name}: has no end, so the other sources would not be reached", advice="give it alone")
        if self.timeline is not None:
            raise UserError(f"--timeline {self.timeline}: {source.name} has no end", advice="use --events alone")
        if self.file is not None and self.file.suffix.lower() != ".csv":
            raise UserError(f"--events {self.file}: events of a live source are appended", advice="give a .csv file")
        with self._reported(source.name):
            if self.file is None:
                self.search.follow(source, self._show)
                return
            with open_live_file(self.file) as file:

                def emit(event: Event) -> None:
                    file.add(event)
                    self._show(event)

                self.search.follow(source, emit)

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            self.failures += 1
            say(f"error: {error}")
            if self.form == "json":
                self.emit(json.dumps({"source": name, "error": str(error)}, ensure_ascii=False))

    def _show(self, event: Event) -> None:
        if self.form == "csv":
            self.emit(as_csv([event], header=False).rstrip("\n"))
        else:
            self.emit(as_json_line(event) if self.form == "json" else as_text(event))


def _draw_timeline(path: Path, timeline: Timeline) -> None:
    if path.suffix.lower() == ".html":
        from pipeline.events.page import render_page  # imports Matplotlib through the report's style, which only pictures need

        write_text(path, render_page(timeline))
    else:
        from pipeline.events.still import draw_still
        from pipeline.reporting.style import drawing, png

        with drawing():
            figure = draw_still(timeline)
        with atomic_file(path) as part:
            part.write_bytes(png(figure))
    say(f"drawn: {path}")
