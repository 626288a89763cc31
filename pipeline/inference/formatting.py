"""Predictions as text for people, and as JSON lines or CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

FORMATS = ("text", "json", "csv")
_DIGITS = 6  # of probabilities in JSON and CSV


class ClassProbability(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float


class ClipPrediction(NamedTuple):
    """The prediction for a whole source.

    Attributes:
      top: the most probable classes, best first; empty if there was an error.
      frames: number of frames at the model's frame rate.
      error: why the source could not be classified; None if it was.
    """

    source: str
    top: tuple[ClassProbability, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    error: str | None = None


class FramePrediction(NamedTuple):
    """The prediction of a stream after a frame. seconds: time of that frame. top: the most probable classes, best first."""

    source: str
    seconds: float
    top: tuple[ClassProbability, ...]


def top_classes(probabilities: np.ndarray, classes: Sequence[str], top: int) -> tuple[ClassProbability, ...]:
    """The `top` classes of float (N,) probabilities, best first; ties in the order of labels."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(ClassProbability(classes[index], float(probabilities[index])) for index in order)


def format_header(form: str, *, top: int, stream: bool) -> str | None:
    """The header line of a format; None if it has none. top: number of classes in a clip's row."""
    if form != "csv":
        return None
    if stream:
        return _csv_line(["source", "seconds", "class", "probability"])
    ranks = [name for rank in range(1, top + 1) for name in (f"class_{rank}", f"probability_{rank}")]
    return _csv_line(["source", "frames", "seconds", "error", *ranks])


def format_clip(prediction: ClipPrediction, form: str, *, top: int = 0) -> str:
    """A clip's prediction: several lines of text, or one line of JSON or CSV. Only JSON and CSV can represent errors.

    top: number of classes in the header of the CSV, to which the row is filled with empty cells.
    """
    error = prediction.error
    if form == "json":
        found = {"frames": prediction.frames, "seconds": round(prediction.seconds, 3), "top": _as_json(prediction.top)}
        record = {"source": prediction.source} | (found if error is None else {"error": error})
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        ranks = [cell for one in prediction.top for cell in (one.name, f"{one.probability:.{_DIGITS}f}")]
        cells = [prediction.frames, f"{prediction.seconds:.3f}", ""] if error is None else ["", "", error]
        return _csv_line([prediction.source, *cells, *ranks, *[""] * (2 * top - len(ranks))])
    width = max((len(one.name) for one in prediction.top), default=0)
    length = f"{prediction.seconds:.1f} s, {prediction.frames} frame{'s' * (prediction.frames != 1)}"
    lines = [f"  {one.name:<{width}}  {_percent(one.probability)}" for one in prediction.top]
    return "\n".join([f"{prediction.source}  ({length})", *lines])


def format_frame(prediction: FramePrediction, form: str) -> str:
    """The prediction after a frame: one line."""
    best = prediction.top[0]
    if form == "json":
        record = {"source": prediction.source, "seconds": round(prediction.seconds, 3), "class": best.name}
        record |= {"probability": round(best.probability, _DIGITS), "top": _as_json(prediction.top)}
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        return _csv_line([prediction.source, f"{prediction.seconds:.3f}", best.name, f"{best.probability:.{_DIGITS}f}"])
    return f"{prediction.seconds:7.2f} s  {_percent(best.probability)}  {best.name}"


def _percent(probability: float) -> str:
    return f"{100 * probability:5.1f}%"


def _as_json(top: Sequence[ClassProbability]) -> list[dict]:
    return [{"class": one.name, "probability": round(one.probability, _DIGITS)} for one in top]


def _csv_line(cells: Iterable) -> str:
    with io.StringIO() as text:
        csv.writer(text, lineterminator="").writerow(cells)
        return text.getvalue()
