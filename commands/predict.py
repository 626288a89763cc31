"""Classifies videos, image sequences, cameras or network streams, with any classifier of this pipeline or the published weights.

A SOURCE is a video file, a GIF, a folder of videos or of images, a pattern such as frames_%04d.png, camera:0, /dev/video0, or an
address that begins with rtsp://, rtsps://, rtmp://, udp://, http:// or https://, of a stream or of a file. Predictions go to
stdout, everything else to stderr. A source that cannot be read does not stop the others; the exit status is then 1.

  python -m commands.predict clip.mp4                          with models/classifier, or else the published Kinetics-600 weights
  python -m commands.predict videos/ --format csv              one row per video
  python -m commands.predict clip.mp4 --stream                 a prediction after each frame
  python -m commands.predict clip.mp4 --animate clip.gif       the clip next to its probabilities over time
  python -m commands.predict long.mp4 --events events.csv      start, end, class and confidence of the events in hours of video
  python -m commands.predict long.mp4 --timeline events.html   a page that shows them (docs/events.md)
  python -m commands.predict camera:0 --model models/export/float32.tflite
  python -m commands.predict rtsp://host:554/stream --seconds 60 --reconnect 300
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pipeline.arguments import at_least, fraction, not_negative, positive
from pipeline.console import RESUMES, UserError, print_line, progress, run_command, say, without_credentials
from pipeline.events.defaults import Options
from pipeline.events.event import SUFFIXES
from pipeline.events.output import EventRun
from pipeline.events.run import EventSearch
from pipeline.files import check_can_write
from pipeline.inference.formats import CLASSIFIER, DEFAULT_PRETRAINED, open_model
from pipeline.inference.formatting import (
    FORMATS,
    ClipPrediction,
    FramePrediction,
    format_clip,
    format_frame,
    format_header,
    top_classes,
)
from pipeline.inference.live import DEFAULT_PATIENCE, Patience
from pipeline.inference.models import Predictor, UnknownRule
from pipeline.inference.sources import Source, find_sources, first_seconds, is_live
from pipeline.inference.stepper import one_thread
from pipeline.inference.streaming import CAMERA_RESTART, StreamedFrame, stream_frames
from pipeline.inference.views import read_views
from pipeline.models.family import pretrained_ids
from pipeline.settings import EngineName

ANIMATIONS = (".gif", ".mp4", ".png")
TIMELINES = (".html", ".png")
STDOUT = "-"
MAX_ANIMATED = 600  # frames, two minutes at 5 a second; a longer GIF is too large to be useful


def predict_clip(predictor: Predictor, source: Source, *, top: int = 5, seconds: float | None = None) -> ClipPrediction:
    """Classifies a clip, or its first `seconds`: the mean over its evenly spaced views. Raises UserError if it cannot be read."""
    clip = read_views(
        lambda: first_seconds(source.frames(predictor.fps, predictor.size), seconds),
        predictor.fps,
        predictor.size,
        predictor.view_indices,
    )
    probabilities = predictor.clip_probabilities(clip.views)
    best, answer = top_classes(probabilities, predictor.classes, top), predictor.answer(probabilities)
    return ClipPrediction(source.name, best, clip.frames, clip.seconds, answer=answer)


@dataclass
class PredictionRun:
    """One run of the command.

    Attributes:
      form: text, json or csv.
      top: number of classes in a prediction.
      seconds: only these first seconds of each source are read; None: all.
      rate: images a second of image sequences; None: each image is one frame.
      patience: how long to wait for a camera or an address.
      stream: whether to predict after each frame.
      restart: seconds after which the states of a stream are reset; None: CAMERA_RESTART for a live source, else never.
      animate: the picture to draw; only with a single source.
      emit: called with each line of output.
      failures: number of sources that could not be read so far.
    """

    predictor: Predictor
    form: str = "text"
    top: int = 5
    seconds: float | None = None
    rate: float | None = None
    patience: Patience = DEFAULT_PATIENCE
    stream: bool = False
    restart: float | None = None
    animate: Path | None = None
    emit: Callable[[str], None] = print_line
    failures: int = 0

    def run(self, names: Sequence[str]) -> int:
        """Classifies every source; returns the number of failures. Raises UserError for errors that concern all sources."""
        answers = self.predictor.rule is not None
        header = format_header(self.form, top=self.top, stream=self.stream, answers=answers)
        if header is not None:
            self.emit(header)
        sources: list[Source] = []
        for name in names:
            with self._reported(without_credentials(name)):
                sources += find_sources(name, self.rate, self.patience)
        count = max(len(names), len(sources))
        if self.animate is not None and count > 1:
            raise UserError(f"--animate {self.animate}: draws a single source, but {count} are given")
        if self.stream or self.animate is not None:
            self._stepper = self.predictor.stream()
        elif endless := next((source.name for source in sources if source.live), None):
            raise UserError(f"{endless}: has no end", advice="use --stream")
        bar = progress(sources, describe="classifying", unit="clip", disable=len(sources) < 2 or self.stream)
        for source in bar:
            with self._reported(source.name):
                self._classify(source, heading=len(sources) > 1)
        return self.failures

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        """Reports a UserError of a source instead of raising it, so that the next source is classified."""
        try:
            yield
        except UserError as error:
            self.failures += 1
            say(f"error: {error}")
            if self.form == "json" or (self.form == "csv" and not self.stream):
                answers = self.predictor.rule is not None
                self.emit(format_clip(ClipPrediction(name, error=str(error)), self.form, top=self.top, answers=answers))

    def _classify(self, source: Source, *, heading: bool) -> None:
        if not self.stream:
            self.emit(format_clip(predict_clip(self.predictor, source, top=self.top, seconds=self.seconds), self.form))
        elif heading and self.form == "text":
            self.emit(source.name)
        if self.stream or self.animate is not None:
            streamed = self._stream(source)
            if self.animate is not None and streamed:
                from pipeline.inference.animation import draw_stream  # imports Matplotlib, which only this needs

                draw_stream(self.animate, streamed, source, self.predictor, top=self.top)
                say(f"drawn: {self.animate}")

    def _stream(self, source: Source) -> list[StreamedFrame]:
        """Runs a source frame by frame and prints the predictions; returns the frames if they are to be drawn."""
        restart = CAMERA_RESTART if self.restart is None and source.live else self.restart
        streamed: list[StreamedFrame] = []
        count = 0
        try:
            for frame in stream_frames(self.predictor, self._stepper, source, seconds=self.seconds, restart=restart):
                count += 1
                if self.stream:
                    top = top_classes(frame.probabilities, self.predictor.classes, self.top)
                    answer = self.predictor.answer(frame.probabilities)
                    self.emit(format_frame(FramePrediction(source.name, frame.seconds, top, answer), self.form))
                if self.animate is not None:
                    streamed.append(frame)
                    if count > MAX_ANIMATED:
                        advice = f"use --seconds {MAX_ANIMATED / self.predictor.fps:g}"
                        raise UserError(f"--animate: {source.name} has more than {MAX_ANIMATED} frames", advice=advice)
        except KeyboardInterrupt:
            if not source.live:  # for a live source, Ctrl-C is the regular end
                raise
        return streamed


def _path_with(suffixes: Sequence[str]) -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text!r} should end with {', '.join(suffixes)}")
        return path

    return parse


def _events_path(text: str) -> Path | str:
    return STDOUT if text == STDOUT else _path_with(SUFFIXES)(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m commands.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to classify")
    which = parser.add_argument_group("the model")
    which.add_argument(
        "--model",
        help="a classifier's folder, a SavedModel, a .tflite file, or an MLflow URI such as models:/sample-a0@latest "
        f"(default: {CLASSIFIER} if it exists, else --pretrained {DEFAULT_PRETRAINED})",
    )
    published = list(pretrained_ids())
    which.add_argument("--pretrained", choices=published, metavar="ID", help=f"published weights: {', '.join(published)}")
    which.add_argument(
        "--weights", help="where they are: a tarball, folder, checkpoint prefix or URL (default: the published sources)"
    )
    which.add_argument(
        "--labels", type=Path, metavar="FILE", help="names of the classes, one per line, for models that do not contain them"
    )
    which.add_argument(
        "--engine",
        choices=get_args(EngineName),
        default="auto",
        help="what runs the classifier in a folder (default: TensorFlow on a GPU, else OpenVINO if it can)",
    )
    which.add_argument("--views", type=at_least(1), metavar="N", help="number of views of a clip (default: the model's)")
    what = parser.add_argument_group("the source")
    what.add_argument("--seconds", type=positive, help="read only the first seconds of each source")
    what.add_argument(
        "--rate",
        type=positive,
        metavar="FPS",
        help="images a second of image sequences (default: each image is one frame)",
    )
    what.add_argument(
        "--timeout",
        type=positive,
        default=DEFAULT_PATIENCE.timeout,
        metavar="SECONDS",
        help="a camera or stream without a frame for SECONDS is lost, or cannot be opened (default: %(default)g)",
    )
    what.add_argument(
        "--reconnect",
        type=not_negative,
        default=DEFAULT_PATIENCE.reconnect,
        metavar="SECONDS",
        help="give up a lost one SECONDS after its last frame; may be inf (default: %(default)g)",
    )
    how = parser.add_argument_group("the prediction")
    how.add_argument("--top", type=at_least(1), default=5, metavar="K", help="number of classes (default: 5)")
    unknown = how.add_mutually_exclusive_group()
    unknown.add_argument(
        "--threshold",
        type=fraction,
        metavar="X",
        help="a prediction with a lower confidence is unknown (default: the threshold that finetune chose on validation)",
    )
    unknown.add_argument("--no-unknown", action="store_true", help="no prediction is unknown")
    how.add_argument("--format", choices=FORMATS, help="json: one object per line (default: text; with --events -: csv)")
    how.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    how.add_argument(
        "--stream",
        action="store_true",
        help="predict after each frame; needs a model that runs frame by frame (implied by a camera and by any address but http)",
    )
    how.add_argument(
        "--restart",
        type=positive,
        metavar="SECONDS",
        help=f"reset the network's states every SECONDS (default: never; for a camera or stream: {CAMERA_RESTART:g})",
    )
    how.add_argument(
        "--animate",
        type=_path_with(ANIMATIONS),
        metavar="FILE",
        help="draw the timeline: .gif and .mp4 are animated, .png is a still of the whole",
    )
    _add_event_options(parser)
    return parser


def _add_event_options(parser: argparse.ArgumentParser) -> None:
    events = parser.add_argument_group("events", "Defaults come from the model's validation clips; see docs/events.md.")
    events.add_argument(
        "--events",
        type=_events_path,
        metavar="FILE",
        help="find the events in each source and write them to FILE, .csv or .json; -: to stdout only",
    )
    events.add_argument(
        "--timeline",
        type=_path_with(TIMELINES),
        metavar="FILE",
        help="find the events and draw them: .html is a page to zoom, .png a still",
    )
    for name, metavar, kind, what in (
        ("window", "SECONDS", positive, "of video that the network sees at once"),
        ("stride", "SECONDS", positive, "between the starts of two windows"),
        ("smooth", "SECONDS", not_negative, "of the moving average over the probabilities"),
        ("high", "P", fraction, "an event begins where its probability reaches this"),
        ("low", "P", fraction, "and lasts while it is at least this"),
        ("shortest", "SECONDS", not_negative, "a shorter event is dropped"),
        ("gap", "SECONDS", not_negative, "events of a class with at most so long between them are one"),
    ):
        events.add_argument(f"--{name}", type=kind, metavar=metavar, help=what)


def _check_event_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    finds_events = options.events is not None or options.timeline is not None
    for name in ("window", "stride", "smooth", "high", "low", "shortest", "gap"):
        if not finds_events and getattr(options, name) is not None:
            parser.error(f"--{name} is about events: give --events or --timeline, too")
    for name in ("stream", "restart", "animate", "threshold", "no_unknown", "views"):
        given = getattr(options, name)
        if finds_events and given is not None and given is not False:
            parser.error(f"--{name.replace('_', '-')} does not go with --events and --timeline")


def _find_events(predictor: Predictor, options: argparse.Namespace) -> int:
    chosen = Options(options.high, options.low, options.smooth, options.shortest, options.gap)
    search = EventSearch.of(predictor, chosen, window=options.window, stride=options.stride, seconds=options.seconds)
    run = EventRun(
        search,
        form=options.format or ("csv" if options.events == STDOUT else "text"),
        rate=options.rate,
        patience=Patience(options.timeout, options.reconnect),
        file=None if options.events == STDOUT else options.events,
        timeline=options.timeline,
    )
    return run.run(options.sources)


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.model is not None and (options.pretrained is not None or options.weights is not None):
        parser.error("--model names a classifier, --pretrained and --weights published weights: give one or the other")
    _check_event_options(parser, options)
    finds_events = options.events is not None or options.timeline is not None
    for path in (options.animate, options.timeline, None if options.events == STDOUT else options.events):
        if path is not None:
            check_can_write(path)
    stream = not finds_events and (options.stream or any(is_live(name) for name in options.sources))
    if stream or options.animate is not None:
        one_thread()
    predictor = open_model(
        options.model, pretrained=options.pretrained, weights=options.weights, labels=options.labels, engine=options.engine
    )
    predictor.views = options.views or predictor.views
    if options.no_unknown:
        predictor.rule = None
    elif options.threshold is not None:
        background = None if predictor.decision is None else predictor.decision.background
        predictor.rule = UnknownRule(options.threshold, background)
    say(f"model: {predictor.about}, {predictor.fps:g} frames a second of {predictor.size}x{predictor.size} pixels")
    if finds_events:
        sys.exit(1 if _find_events(predictor, options) else 0)
    predictions = PredictionRun(
        predictor,
        form=options.format or "text",
        top=min(options.top, len(predictor.classes)),
        seconds=options.seconds,
        rate=options.rate,
        patience=Patience(options.timeout, options.reconnect),
        stream=stream,
        restart=options.restart,
        animate=options.animate,
    )
    if predictions.run(options.sources):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES if {"--events", "--timeline"} & set(sys.argv) else "")
