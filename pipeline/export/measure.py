"""Measures exported networks: their predictions on a split, streamed frame by frame, and their time per frame."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.console import progress
from pipeline.inference.stepper import Stepper, softmax


class Stream(Stepper, Protocol):
    """A stepper with a known size of its states: LiteClassifier or SavedStream.

    Attributes:
      state_bytes: size of the states that are kept between frames.
    """

    state_bytes: int


@dataclass
class StreamPredictions:
    """Predictions of several networks on the same clips.

    Attributes:
      clips, groups, labels: of each clip.
      probabilities: by network, float (clips, N), the mean over the views.
      top1_by_frame: by network, int (views of all clips, T), the most probable class after each frame of a view.
    """

    clips: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    top1_by_frame: dict[str, np.ndarray] = field(default_factory=dict)

    def agreement_by_frame(self, one: str, other: str) -> list[float]:
        """The fraction of views for which two networks predict the same class, after each frame: T values."""
        return (self.top1_by_frame[one] == self.top1_by_frame[other]).mean(axis=0).tolist()


def stream_logits(stream: Stream, frames: np.ndarray) -> np.ndarray:
    """Resets the stream and runs it over a clip (T, size, size, 3); returns the logits after each frame (T, N)."""
    stream.reset()
    return np.stack([stream.step(frame) for frame in frames])


def predict_streams(streams: dict[str, Stream], clips: Iterable[dict], total: int, describe: str) -> StreamPredictions:
    """Runs every network over the views of every clip.

    The probabilities of a view are the softmax of the logits after its last frame; those of a clip are the mean over its views.

    Args:
      streams: networks by name.
      clips: elements with `views` float32 (views, T, size, size, 3), `label`, `clip` and `group`, as from `test_clips`.
      total: number of clips. describe: text of the progress bar.
    """
    predictions = StreamPredictions()
    probabilities, top1_by_frame = ({name: [] for name in streams} for _ in range(2))
    for clip in progress(clips, total=total, describe=describe, unit="clip"):
        predictions.clips.append(clip["clip"].decode())
        predictions.groups.append(clip["group"].decode())
        predictions.labels.append(int(clip["label"]))
        for name, stream in streams.items():
            logits = [stream_logits(stream, view) for view in clip["views"]]
            top1_by_frame[name] += [each.argmax(axis=1) for each in logits]
            probabilities[name].append(np.mean([softmax(np.float64(each[-1])) for each in logits], axis=0))
    predictions.probabilities = {name: np.stack(values) for name, values in probabilities.items()}
    predictions.top1_by_frame = {name: np.stack(values) for name, values in top1_by_frame.items()}
    return predictions


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
