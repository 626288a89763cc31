"""Measures exported networks: their predictions on a split, streamed frame by frame, and their time per frame."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.console import progress
from pipeline.inference.stepper import Stepper, softmax

CLEAR_MARGIN = 0.1  # of the two highest probabilities; where they are closer, rounding alone can exchange the classes
TOP = 5


class Stream(Stepper, Protocol):
    """A stepper with a known size of its states: LiteClassifier or SavedStream.

    Attributes:
      state_bytes: size of the states that are kept between frames.
    """

    state_bytes: int


class Agreement(NamedTuple):
    """How far a network's predictions after each frame of each view are those of the reference.

    Attributes:
      by_frame: the fraction of views with the same most probable class, after the first frame, the second, ...: T values.
      among_top5: of all frames, the fraction with the reference's class among the five most probable; None for up to 5 classes.
      clear: of the frames where the reference's two highest probabilities differ by at least CLEAR_MARGIN, the fraction with the
        same most probable class; None if there are none.
      confidence_drift: mean absolute difference of the probability of the reference's class, over all frames.
    """

    by_frame: list[float]
    among_top5: float | None
    clear: float | None
    confidence_drift: float


class _Frames(NamedTuple):
    """A network next to the reference after each frame of a view: arrays (T,)."""

    same: np.ndarray
    among_top5: np.ndarray
    clear: np.ndarray
    drift: np.ndarray


def _compare_frames(reference: np.ndarray, other: np.ndarray) -> _Frames:
    """Args: probabilities (T, N)."""
    best, times = reference.argmax(axis=1), np.arange(len(reference))
    confidence = other[times, best]
    second, first = np.partition(reference, -2, axis=1)[:, -2:].T
    higher = (other > confidence[:, np.newaxis]).sum(axis=1)
    drift = np.abs(confidence - reference[times, best])
    return _Frames(other.argmax(axis=1) == best, higher < TOP, first - second >= CLEAR_MARGIN, drift)


@dataclass
class StreamPredictions:
    """Predictions of several networks on the same clips.

    Attributes:
      clips, groups, labels: of each clip.
      probabilities: by network, float (clips, N), the mean over the views.
      agreement: by network, with the reference. frames: of all views together.
    """

    clips: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    frames: int = 0


def stream_logits(stream: Stream, frames: np.ndarray) -> np.ndarray:
    """Resets the stream and runs it over a clip (T, size, size, 3); returns the logits after each frame (T, N)."""
    stream.reset()
    return np.stack([stream.step(frame) for frame in frames])


def predict_streams(
    streams: dict[str, Stream], clips: Iterable[dict], total: int, describe: str, *, reference: str
) -> StreamPredictions:
    """Runs every network over the views of every clip.

    The probabilities of a view are the softmax of the logits after its last frame; those of a clip are the mean over its views.

    Args:
      streams: networks by name. reference: the name of the one that the others are compared with.
      clips: elements with `views` float32 (views, T, size, size, 3), `label`, `clip` and `group`, as from `test_clips`.
      total: number of clips. describe: text of the progress bar.
    """
    predictions = StreamPredictions()
    probabilities, frames = ({name: [] for name in streams} for _ in range(2))
    for clip in progress(clips, total=total, describe=describe, unit="clip"):
        predictions.clips.append(clip["clip"].decode())
        predictions.groups.append(clip["group"].decode())
        predictions.labels.append(int(clip["label"]))
        expected = [_by_frame(streams[reference], view) for view in clip["views"]]
        for name, stream in streams.items():
            computed = expected if name == reference else [_by_frame(stream, view) for view in clip["views"]]
            probabilities[name].append(np.mean([each[-1] for each in computed], axis=0))
            frames[name] += map(_compare_frames, expected, computed)
    predictions.probabilities = {name: np.stack(values) for name, values in probabilities.items()}
    classes = predictions.probabilities[reference].shape[1]
    predictions.agreement = {
        name: _summarize(_Frames(*map(np.stack, zip(*each, strict=True))), classes) for name, each in frames.items()
    }
    predictions.frames = sum(len(view.same) for view in frames[reference])
    return predictions


def _by_frame(stream: Stream, view: np.ndarray) -> np.ndarray:
    """The probabilities after each frame of a view (T, N), float64."""
    return np.stack([softmax(np.float64(logits)) for logits in stream_logits(stream, view)])


def _summarize(frames: _Frames, classes: int) -> Agreement:
    """frames: arrays (views, T)."""
    return Agreement(
        frames.same.mean(axis=0).tolist(),
        float(frames.among_top5.mean()) if classes > TOP else None,
        float(frames.same[frames.clear].mean()) if frames.clear.any() else None,
        float(frames.drift.mean()),
    )


def time_steps(streams: dict[str, Stream], frame: np.ndarray, *, rounds: int = 15, steps: int = 10) -> dict[str, float]:
    """The median time of a step in milliseconds, by network, including the transfer of the states.

    The networks are timed alternately, so that other load on the machine affects all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in streams}
    for stream in streams.values():
        stream.reset()
        for _ in range(steps):
            stream.step(frame)
    for _ in range(rounds):
        for name, stream in streams.items():
            for _ in range(steps):
                start = time.perf_counter()
                stream.step(frame)
                times[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(values)) for name, values in times.items()}
