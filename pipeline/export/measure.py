"""What an exported network is worth: its predict_streams on a split, streamed frame by frame, and its time a frame."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pipeline.console import progress
from pipeline.inference.stepper import Stepper, softmax


class Stream(Stepper, Protocol):
    """One that says what it remembers between frames: LiteClassifier, and SavedStream."""

    state_bytes: int


@dataclass
class StreamPredictions:
    """Of each network, by name: `probabilities` (clips, N), mean over the views; `top1_by_frame` (views of all clips, T), the
    class that is first after each frame of a view."""

    clips: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    top1_by_frame: dict[str, np.ndarray] = field(default_factory=dict)

    def agreement_by_frame(self, one: str, other: str) -> list[float]:
        """The part of the views in which two networks put the same class first, after the first frame, the second and so on."""
        return (self.top1_by_frame[one] == self.top1_by_frame[other]).mean(axis=0).tolist()


def stream_logits(stream: Stream, frames: np.ndarray) -> np.ndarray:
    """The logits after each frame of a clip from its start: (T, size, size, 3) -> (T, N)."""
    stream.reset()
    return np.stack([stream.step(frame) for frame in frames])


def predict_streams(streams: dict[str, Stream], clips: Iterable[dict], total: int, describe: str) -> StreamPredictions:
    """Runs every network over the views of every clip.

    A view's answer is the softmax of the logits after its last frame; a clip's, the mean over its views.

    Args:
      clips: elements with `views` float32 (views, T, size, size, 3), `label`, `clip` and `group`, as `test_clips` gives them.
      total: how many there are, for the bar.
    """
    found = StreamPredictions()
    probabilities, top1_by_frame = ({name: [] for name in streams} for _ in range(2))
    for clip in progress(clips, total=total, describe=describe, unit="clip"):
        found.clips.append(clip["clip"].decode())
        found.groups.append(clip["group"].decode())
        found.labels.append(int(clip["label"]))
        for name, stream in streams.items():
            logits = [stream_logits(stream, view) for view in clip["views"]]
            top1_by_frame[name] += [each.argmax(axis=1) for each in logits]
            probabilities[name].append(np.mean([softmax(np.float64(each[-1])) for each in logits], axis=0))
    found.probabilities = {name: np.stack(values) for name, values in probabilities.items()}
    found.top1_by_frame = {name: np.stack(values) for name, values in top1_by_frame.items()}
    return found


def time_steps(streams: dict[str, Stream], frame: np.ndarray, *, rounds: int = 15, steps: int = 10) -> dict[str, float]:
    """The median time of a step, states handed over included. The networks take turns, so that a busy moment troubles all."""
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
