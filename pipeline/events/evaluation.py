"""Compares events that were found with annotated ones.

Average precision at a temporal IoU is that of ActivityNet (Caba Heilbron et al. 2015) and THUMOS (Idrees et al. 2017).
Events of a class are taken in the order of their confidence. Each is compared with the annotated event of its class and
source with which it has the largest IoU among those not matched yet, and matches it if that IoU reaches the threshold.
Precision is made monotonous from the right and averaged over the recall of all annotated events (every point, not eleven).
The mean is over the annotated classes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.events.event import Event

IOUS = (0.3, 0.5, 0.7)
GRID = 0.1  # seconds between the moments of which the frame accuracy is the share that is right


class ClassEvaluation(NamedTuple):
    """Of one class. average_precision: at each of IOUS; None if no event is annotated. recall: at IOUS[0], None likewise.

    false_alarms: events found that match no annotated one at IOUS[0].
    """

    class_name: str
    annotated: int
    found: int
    average_precision: tuple[float, ...] | None
    recall: float | None
    false_alarms: int


class Evaluation(NamedTuple):
    """Of all classes and sources. mean_average_precision: at each of IOUS, over the annotated classes; None if there are none.

    recall: share of the annotated events that an event found matches at IOUS[0]. frame_accuracy: share of the moments of a grid
    whose class is right, where no event is a class of its own. seconds: of all sources.
    """

    sources: int
    seconds: float
    annotated: int
    found: int
    mean_average_precision: tuple[float, ...] | None
    frame_accuracy: float
    recall: float | None
    false_alarms: int
    false_alarms_per_hour: float
    classes: list[ClassEvaluation]


def temporal_iou(first: Event, second: Event) -> float:
    """Length of the intersection of two events over that of their union."""
    common = max(min(first.end, second.end) - max(first.start, second.start), 0.0)
    return common / (first.seconds + second.seconds - common)


def match(found: Sequence[Event], annotated: Sequence[Event], iou: float) -> list[bool]:
    """Whether each event of `found`, in the order of decreasing confidence, matches; see the module. Both are of one class."""
    free = list(annotated)
    matched = []
    for event in found:
        candidates = [(temporal_iou(event, other), -k) for k, other in enumerate(free) if other.source == event.source]
        best, position = max(candidates, default=(0.0, 0))
        matched.append(best >= iou and bool(candidates))
        if matched[-1]:
            del free[-position]
    return matched


def average_precision(matched: Sequence[bool], annotated: int) -> float:
    """The area below precision over recall, for matches in the order of confidence."""
    hits = np.cumsum(matched)
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * np.asarray(matched)).sum() / annotated)


def classes_over_time(events: Sequence[Event], seconds: float) -> np.ndarray:
    """The class at the middle of each step of GRID seconds, object (T,); None where there is no event.

    Where events overlap, the one with the highest confidence counts, then the earliest.
    """
    middles = (np.arange(max(round(seconds / GRID), 1)) + 0.5) * GRID
    classes = np.full(len(middles), None, object)
    for event in sorted(events, key=lambda event: (event.confidence, -event.start)):
        classes[np.searchsorted(middles, event.start) : np.searchsorted(middles, event.end)] = event.class_name
    return classes


def evaluate_events(found: Sequence[Event], annotated: Sequence[Event], seconds: Mapping[str, float]) -> Evaluation:
    """Compares `found` with `annotated`. seconds: the length of each source, of which all events are."""
    found = sorted(found, key=lambda event: (-event.confidence, event.source, event.start))
    classes = []
    for name in sorted({event.class_name for event in (*found, *annotated)}):
        own = [event for event in found if event.class_name == name]
        true = [event for event in annotated if event.class_name == name]
        matches = [match(own, true, iou) for iou in IOUS]
        hits = sum(matches[0])
        precisions = tuple(average_precision(matched, len(true)) for matched in matches) if true else None
        classes.append(
            ClassEvaluation(name, len(true), len(own), precisions, hits / len(true) if true else None, len(own) - hits)
        )
    right = total = 0
    for source, length in seconds.items():
        first, second = (
            classes_over_time([event for event in events if event.source == source], length) for events in (found, annotated)
        )
        right += int((first == second).sum())
        total += len(first)
    known = [one.average_precision for one in classes if one.average_precision is not None]
    false_alarms = sum(one.false_alarms for one in classes)
    return Evaluation(
        sources=len(seconds),
        seconds=sum(seconds.values()),
        annotated=len(annotated),
        found=len(found),
        mean_average_precision=tuple(np.mean(known, axis=0).tolist()) if known else None,
        frame_accuracy=right / total,
        recall=(len(found) - false_alarms) / len(annotated) if annotated else None,
        false_alarms=false_alarms,
        false_alarms_per_hour=false_alarms / (sum(seconds.values()) / 3600),
        classes=classes,
    )
