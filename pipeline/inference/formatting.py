"""Predictions as text for people, and as JSON lines or CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.inference.models import Answer

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
      answer: None if the model does not state when a prediction is unknown.
      error: why the source could not be classified; None if it was.
    """

    source: str
    top: tuple[ClassProbability, ...] = ()
    frames: int = 0
    seconds: float = 0.0
    error: str | None = None
    answer: Answer | None = None


class FramePrediction(NamedTuple):
    """The prediction of a stream after a frame. seconds: time of that frame. top, answer: see `ClipPrediction`."""

    source: str
    seconds: float
    top: tuple[ClassProbability, ...]
    answer: Answer | None = None


def top_classes(probabilities: np.ndarray, classes: Sequence[str], top: int) -> tuple[ClassProbability, ...]:
    """The `top` classes of float (N,) probabilities, best first; ties in the order of labels."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(ClassProbability(classes[index], float(probabilities[index])) for index in order)


def format_header(form: str, *, top: int, stream: bool, answers: bool = False) -> str | None:
    """The header line of a format; None if it has none.

    top: number of classes in a clip's row. answers: whether predictions have an `answer`, which adds a last column.
    """
    if form != "csv":
        return None
    last = ["unknown"] if answers else []
    if stream:
        return _csv_line(["source", "seconds", "class", "probability", *last])
    ranks = [name for rank in range(1, top + 1) for name in (f"class_{rank}", f"probability_{rank}")]
    return _csv_line(["source", "frames", "seconds", "error", *ranks, *last])


def format_clip(prediction: ClipPrediction, form: str, *, top: int = 0, answers: bool = False) -> str:
    """A clip's prediction: several lines of text, or one line of JSON or CSV. Only JSON and CSV can represent errors.

    top, answers: of the header of the CSV, to which the row of an error is filled with empty cells.
    """
    error = prediction.error
    if form == "json":
        found = {"frames": prediction.frames, "seconds": round(prediction.seconds, 3)}
        if prediction.answer is not None:
            found |= _answer_as_json(prediction.answer)
        found["top"] = _as_json(prediction.top)
        record = {"source": prediction.source} | (found if error is None else {"error": error})
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        ranks = [cell for one in prediction.top for cell in (one.name, f"{one.probability:.{_DIGITS}f}")]
        cells = [prediction.frames, f"{prediction.seconds:.3f}", ""] if error is None else ["", "", error]
        last = [_csv_answer(prediction.answer)] if answers or prediction.answer is not None else []
        return _csv_line([prediction.source, *cells, *ranks, *[""] * (2 * top - len(ranks)), *last])
    width = max((len(one.name) for one in prediction.top), default=0)
    length = f"{prediction.seconds:.1f} s, {prediction.frames} frame{'s' * (prediction.frames != 1)}"
    lines = [f"  {one.name:<{width}}  {_percent(one.probability)}" for one in prediction.top]
    if prediction.answer is not None and prediction.answer.unknown:
        lines = [f"  {_describe_unknown(prediction.answer)}", *lines]
    return "\n".join([f"{prediction.source}  ({length})", *lines])


def format_frame(prediction: FramePrediction, form: str) -> str:
    """The prediction after a frame: one line."""
    best, answer = prediction.top[0], prediction.answer
    if form == "json":
        record = {"source": prediction.source, "seconds": round(prediction.seconds, 3), "class": best.name}
        if answer is not None:
            record |= _answer_as_json(answer)
        record |= {"probability": round(best.probability, _DIGITS), "top": _as_json(prediction.top)}
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        last = [] if answer is None else [_csv_answer(answer)]
        return _csv_line([prediction.source, f"{prediction.seconds:.3f}", best.name, f"{best.probability:.{_DIGITS}f}", *last])
    if answer is not None and answer.unknown:
        return f"{prediction.seconds:7.2f} s  {_describe_unknown(answer)}"
    return f"{prediction.seconds:7.2f} s  {_percent(best.probability)}  {best.name}"


def _percent(probability: float) -> str:
    return f"{100 * probability:5.1f}%"


def _describe_unknown(answer: Answer) -> str:
    return f"unknown (best: {answer.name} {100 * answer.probability:.0f}%)"


def _answer_as_json(answer: Answer) -> dict:
    return {"class": None if answer.unknown else answer.name, "unknown": answer.unknown}


def _csv_answer(answer: Answer | None) -> str:
    return "" if answer is None else str(answer.unknown).lower()


def _as_json(top: Sequence[ClassProbability]) -> list[dict]:
    return [{"class": one.name, "probability": round(one.probability, _DIGITS)} for one in top]


def _csv_line(cells: Iterable) -> str:
    with io.StringIO() as text:
        csv.writer(text, lineterminator="").writerow(cells)
        return text.getvalue()
