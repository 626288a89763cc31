"""What the user is told: the most probable classes of each source, as text for people, JSON lines or CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

FORMATS = ("text", "json", "csv")
_DIGITS = 6  # of a probability that a program reads


class Ranked(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float


class Answer(NamedTuple):
    """Of one source: the most probable classes, best first; or why there are none."""

    source: str
    top: tuple[Ranked, ...] = ()
    frames: int = 0  # that the model's rate makes of it
    seconds: float = 0.0
    error: str | None = None


class Moment(NamedTuple):
    """Of a stream up to now: the time of its latest frame, and the most probable classes, best first."""

    source: str
    seconds: float
    top: tuple[Ranked, ...]


def rank(probabilities: np.ndarray, classes: Sequence[str], top: int) -> tuple[Ranked, ...]:
    """The `top` classes of float (N,) probabilities, best first; of equal ones the first by label."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Ranked(classes[index], float(probabilities[index])) for index in order)


def _percent(probability: float) -> str:
    return f"{100 * probability:5.1f}%"


def _line(cells: Iterable) -> str:
    with io.StringIO() as text:
        csv.writer(text, lineterminator="").writerow(cells)
        return text.getvalue()


def _listed(top: Sequence[Ranked]) -> list[dict]:
    return [{"class": one.name, "probability": round(one.probability, _DIGITS)} for one in top]


def header(form: str, *, top: int, stream: bool) -> str | None:
    """The line before all others, if the format has one. `top`: classes that an answer names."""
    if form != "csv":
        return None
    if stream:
        return _line(["source", "seconds", "class", "probability"])
    ranks = [name for place in range(1, top + 1) for name in (f"class_{place}", f"probability_{place}")]
    return _line(["source", "frames", "seconds", "error", *ranks])


def show_answer(answer: Answer, form: str, *, top: int = 0) -> str:
    """A record: several lines of text, or one line of JSON or CSV. Failed sources are told to programs only, in `error`.

    top: classes that the header of a table has columns for.
    """
    if form == "json":
        found = {"frames": answer.frames, "seconds": round(answer.seconds, 3), "top": _listed(answer.top)}
        record = {"source": answer.source} | (found if answer.error is None else {"error": answer.error})
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        ranks = [cell for one in answer.top for cell in (one.name, f"{one.probability:.{_DIGITS}f}")]
        known = [answer.frames, f"{answer.seconds:.3f}", ""] if answer.error is None else ["", "", answer.error]
        return _line([answer.source, *known, *ranks, *[""] * (2 * top - len(ranks))])
    width = max((len(one.name) for one in answer.top), default=0)
    lines = [f"{answer.source}  ({answer.seconds:.1f} s, {answer.frames} frame{'s' * (answer.frames != 1)})"]
    return "\n".join(lines + [f"  {one.name:<{width}}  {_percent(one.probability)}" for one in answer.top])


def show_moment(moment: Moment, form: str) -> str:
    """One line."""
    best = moment.top[0]
    if form == "json":
        record = {"source": moment.source, "seconds": round(moment.seconds, 3), "class": best.name}
        record |= {"probability": round(best.probability, _DIGITS), "top": _listed(moment.top)}
        return json.dumps(record, ensure_ascii=False)
    if form == "csv":
        return _line([moment.source, f"{moment.seconds:.3f}", best.name, f"{best.probability:.{_DIGITS}f}"])
    return f"{moment.seconds:7.2f} s  {_percent(best.probability)}  {best.name}"
