"""Classifies videos, image sequences or what a camera sees, with any classifier of this pipeline or the published weights.

A SOURCE is a video file, a GIF, a folder of videos or of images, a pattern such as frames_%04d.png, or camera:0. Answers go to
stdout, all else to stderr. A source that cannot be read does not stop the others; the exit status is then 1.

  python -m commands.predict clip.mp4                          with models/classifier, or else the published Kinetics-600 weights
  python -m commands.predict videos/ --format csv              a row a video
  python -m commands.predict clip.mp4 --stream                 frame by frame, as it goes
  python -m commands.predict clip.mp4 --animate clip.gif       the clip beside its probabilities over time
  python -m commands.predict camera:0 --model models/export/float32.tflite
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.arguments import at_least, positive
from pipeline.console import UserError, progress, run_command, say
from pipeline.inference.answers import FORMATS, Answer, Moment, header, rank, show_answer, show_moment
from pipeline.inference.formats import CLASSIFIER, DEFAULT_PRETRAINED, open_model
from pipeline.inference.models import Predictor
from pipeline.inference.sources import CAMERA, Source, find_sources, limited
from pipeline.inference.stepper import one_thread
from pipeline.inference.streaming import CAMERA_RESTART, Step, steps
from pipeline.inference.views import read_views
from pipeline.models.family import pretrained_ids

ANIMATIONS = (".gif", ".mp4", ".png")
MAX_ANIMATED = 600  # frames, two minutes at 5 a second; a GIF of more is too large to be shown anywhere


def predict_clip(predictor: Predictor, source: Source, *, top: int = 5, seconds: float | None = None) -> Answer:
    """The answer for a whole clip, or its first `seconds`: the mean over its evenly spaced views. Raises UserError."""
    clip = read_views(
        lambda: limited(source.frames(predictor.fps, predictor.size), seconds),
        predictor.fps,
        predictor.size,
        predictor.view_indices,
    )
    probabilities = predictor.clip_probabilities(clip.views)
    return Answer(source.name, rank(probabilities, predictor.classes, top), clip.frames, clip.seconds)


def _print(line: str) -> None:
    tqdm.write(line, file=sys.stdout)  # a progress bar stays whole
    sys.stdout.flush()


@dataclass
class Prediction:
    """One run of the command.

    Attributes:
      form: text, json or csv. top: classes that an answer names.
      seconds: read of each source; None: all. rate: images a second of image sequences; None: one a frame of the model.
      stream: answers frame by frame. restart: seconds after which a stream's states are fresh again; None: CAMERA_RESTART for a
        camera, else never.
      animate: the picture to draw of the one source.
      emit: takes each finished line.
      failures: sources that could not be read so far.
    """

    predictor: Predictor
    form: str = "text"
    top: int = 5
    seconds: float | None = None
    rate: float | None = None
    stream: bool = False
    restart: float | None = None
    animate: Path | None = None
    emit: Callable[[str], None] = _print
    failures: int = 0

    def run(self, names: Sequence[str]) -> int:
        """Answers for every source; returns how many failed. Raises UserError for what concerns all of them."""
        first = header(self.form, top=self.top, stream=self.stream)
        if first is not None:
            self.emit(first)
        sources: list[Source] = []
        for name in names:
            with self._failing(name):
                sources += find_sources(name, self.rate)
        if self.animate is not None and max(len(names), len(sources)) > 1:
            raise UserError(f"--animate {self.animate}: draws one source, and here are {max(len(names), len(sources))}")
        if self.stream or self.animate is not None:
            self._stepper = self.predictor.stream()
        elif any(source.live for source in sources):
            raise UserError(f"{CAMERA}N: a camera has no end, so it needs --stream")
        bar = progress(sources, describe="classifying", unit="clip", disable=len(sources) < 2 or self.stream)
        for source in bar:
            with self._failing(source.name):
                self._answer(source, heading=len(sources) > 1)
        return self.failures

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """Tells why a source failed, and lets the others go on."""
        try:
            yield
        except UserError as error:
            self.failures += 1
            say(f"error: {error}")
            if self.form == "json" or (self.form == "csv" and not self.stream):
                self.emit(show_answer(Answer(name, error=str(error)), self.form, top=self.top))

    def _answer(self, source: Source, *, heading: bool) -> None:
        if not self.stream:
            self.emit(show_answer(predict_clip(self.predictor, source, top=self.top, seconds=self.seconds), self.form))
        elif heading and self.form == "text":
            self.emit(source.name)
        if self.stream or self.animate is not None:
            timeline = self._follow(source)
            if self.animate is not None and timeline:
                from pipeline.inference.animation import draw  # Matplotlib, which only this needs

                draw(self.animate, timeline, source, self.predictor, top=self.top)
                say(f"drawn: {self.animate}")

    def _follow(self, source: Source) -> list[Step]:
        """Runs a source frame by frame, told as it goes; returns the steps if they are to be drawn."""
        restart = CAMERA_RESTART if self.restart is None and source.live else self.restart
        timeline: list[Step] = []
        count, step = 0, None
        try:
            for step in steps(self.predictor, self._stepper, source, seconds=self.seconds, restart=restart):
                count += 1
                if self.stream:
                    moment = Moment(source.name, step.seconds, rank(step.probabilities, self.predictor.classes, self.top))
                    self.emit(show_moment(moment, self.form))
                if self.animate is not None:
                    timeline.append(step)
                    if count > MAX_ANIMATED:
                        limit = f"{MAX_ANIMATED} frames; say --seconds {MAX_ANIMATED / self.predictor.fps:g}"
                        raise UserError(f"--animate: {source.name} has more than {limit}")
        except KeyboardInterrupt:
            if not source.live:  # of anything with an end it is an interruption; a camera is stopped so
                raise
        if source.live and step is not None and count - 1 < 0.8 * step.seconds * self.predictor.fps:
            seen = f"{(count - 1) / step.seconds:.1f} frames a second were seen"
            say(f"note: {source.name}: {seen}, the network was trained at {self.predictor.fps:g}: answers may suffer")
        return timeline


def _drawable(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in ANIMATIONS:
        raise argparse.ArgumentTypeError(f"{text!r} should end with {', '.join(ANIMATIONS)}")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m commands.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what to classify")
    which = parser.add_argument_group("the model")
    which.add_argument(
        "--model",
        help="a classifier's folder, a SavedModel, a .tflite file, or an MLflow URI such as models:/sample-a0@latest "
        f"(default: {CLASSIFIER} if it is there, else --pretrained {DEFAULT_PRETRAINED})",
    )
    published = list(pretrained_ids())
    which.add_argument("--pretrained", choices=published, metavar="ID", help=f"published weights: {', '.join(published)}")
    which.add_argument("--weights", help="where those are: a tarball, folder, checkpoint prefix or URL (default: published)")
    which.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one a line, where the model has none")
    which.add_argument("--views", type=at_least(1), metavar="N", help="views of a clip (default: the model's own number)")
    what = parser.add_argument_group("the source")
    what.add_argument("--seconds", type=positive, help="only the first so many seconds of each source")
    what.add_argument(
        "--rate",
        type=positive,
        metavar="FPS",
        help="images a second of image sequences (default: the model's rate)",
    )
    how = parser.add_argument_group("the answer")
    how.add_argument("--top", type=at_least(1), default=5, metavar="K", help="classes named (default: 5)")
    how.add_argument("--format", choices=FORMATS, default="text", help="json: one object a line (default: text)")
    how.add_argument("--stream", action="store_true", help="answer after each frame; needs a stream model (implied by a camera)")
    how.add_argument(
        "--restart",
        type=positive,
        metavar="SECONDS",
        help=f"forget all frames every so many seconds (default: never; a camera: {CAMERA_RESTART:g})",
    )
    how.add_argument("--animate", type=_drawable, metavar="FILE", help="draw it: .gif or .mp4 moves, .png is a still of it all")
    return parser


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.model is not None and (options.pretrained is not None or options.weights is not None):
        parser.error("--model names a classifier, --pretrained and --weights published weights: give one or the other")
    stream = options.stream or any(name.startswith(CAMERA) for name in options.sources)
    if stream or options.animate is not None:
        one_thread()
    predictor = open_model(options.model, pretrained=options.pretrained, weights=options.weights, labels=options.labels)
    predictor.views = options.views or predictor.views
    say(f"model: {predictor.about}, {predictor.fps:g} frames a second of {predictor.size}x{predictor.size} pixels")
    prediction = Prediction(
        predictor,
        form=options.format,
        top=min(options.top, len(predictor.classes)),
        seconds=options.seconds,
        rate=options.rate,
        stream=stream,
        restart=options.restart,
        animate=options.animate,
    )
    if prediction.run(options.sources):
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
