"""One interface for classifiers of every format, so that predictions do not depend on the format.

Invariants: `probabilities` takes preprocessed views and returns a row per view; a clip's prediction is their mean. For a network
that runs frame by frame, the prediction for a view is the one after its last frame, starting from reset states: the networks are
causal, so this is the prediction for the whole view.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.artifacts import Decision
from pipeline.console import UserError
from pipeline.evaluation.decision import find_answers
from pipeline.inference.stepper import Stepper, softmax
from pipeline.video.sampling import Sampling, uniform_indices

CLIP_SECONDS = 10  # of a view if the model does not state it: published networks were trained and evaluated on clips of 10 s
MAX_VIEWS = 10  # of a long clip, if the model does not state a number


class UnknownRule(NamedTuple):
    """A prediction is unknown below a confidence of `threshold`, or if `background` is most probable; see `Decision`."""

    threshold: float
    background: str | None = None


class Answer(NamedTuple):
    """The most probable class other than the background, its probability, and whether the prediction is unknown all the same."""

    name: str
    probability: float
    unknown: bool


class Predictor:
    """A classifier and the input that it expects.

    Attributes:
      about: a description for messages.
      classes: N names in the order of the outputs.
      fps: frames a second.
      size: pixels of a side.
      sampling: how views are cut out of a clip; None: views of CLIP_SECONDS, or of the whole clip if it is shorter.
      views: number of views of a clip; None: as many as cover it, at most MAX_VIEWS.
      causal: whether its layers look only at earlier frames, so that it reacts later than one that looks both ways.
      decision: when a prediction is unknown, as chosen after training; None if the model does not state it.
      rule: what `answer` applies: that of `decision`, unless the user sets another one; None: no prediction is unknown.
    """

    def __init__(
        self,
        about: str,
        classes: Sequence[str],
        *,
        fps: float,
        size: int,
        sampling: Sampling | None = None,
        views: int | None = None,
        causal: bool = False,
        decision: Decision | None = None,
    ) -> None:
        self.about, self.classes = about, list(classes)
        self.fps, self.size, self.sampling, self.views = fps, size, sampling, views
        self.causal = causal
        self.decision = decision
        self.rule = None if decision is None else UnknownRule(decision.threshold, decision.background)

    def view_indices(self, total: int) -> np.ndarray:
        """The frames of each view of a clip of `total` frames: int (views, count)."""
        if self.sampling is None:
            count = min(total, round(CLIP_SECONDS * self.fps))
            return uniform_indices(total, count, self.views or self._number_of_views(total, count))
        return self.sampling.indices(total, self.views or self._number_of_views(total, self.sampling.count))

    def _number_of_views(self, total: int, count: int) -> int:
        return min(MAX_VIEWS, math.ceil(total / count))

    def stream(self) -> Stepper:
        """The same network frame by frame. Raises UserError if it cannot run so."""
        raise NotImplementedError

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """float32 (V, count, size, size, 3) in [0, 1] -> float32 (V, N)."""
        raise NotImplementedError

    def clip_probabilities(self, views: np.ndarray) -> np.ndarray:
        """The probabilities of a clip, float32 (N,): the mean over its views."""
        probabilities = self.probabilities(views)
        self.check_outputs(probabilities)
        return probabilities.mean(axis=0)

    def answer(self, probabilities: np.ndarray) -> Answer | None:
        """What the probabilities (N,) of a clip say by `rule`; None without one."""
        if self.rule is None:
            return None
        background = None if self.rule.background is None else self.classes.index(self.rule.background)
        ((label,), (score,)) = found = find_answers(probabilities[None], background)
        return Answer(self.classes[label], float(found.confidences[0]), bool(score < self.rule.threshold))

    def check_outputs(self, outputs: np.ndarray) -> None:
        """Raises UserError if the number of outputs (..., N) is not that of the class names, or if one is not finite."""
        if outputs.shape[-1] != len(self.classes):
            raise UserError(f"{self.about}: has {outputs.shape[-1]} outputs, but there are {len(self.classes)} class names")
        if not np.isfinite(outputs).all():
            message = f"{self.about}: its outputs are not finite numbers"
            raise UserError(message, advice="its weights are damaged or its training diverged: take others or train again")


class StreamingPredictor(Predictor):
    """A network that runs frame by frame, and over whole views too. It has one set of states, so it runs one stream at a time."""

    def __init__(self, stepper: Stepper, about: str, classes: Sequence[str], **expected_input) -> None:
        super().__init__(about, classes, causal=True, **expected_input)
        self._stepper = stepper

    def stream(self) -> Stepper:
        self._stepper.reset()
        return self._stepper

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        rows = []
        for view in views:
            self._stepper.reset()
            for image in view:
                logits = self._stepper.step(image)
            rows.append(softmax(logits))
        return np.stack(rows)


class ClipPredictor(Predictor):
    """A network that takes whole views. stream: called to open its frame-by-frame form."""

    def __init__(
        self,
        compute: Callable[[np.ndarray], np.ndarray],
        stream: Callable[[], Stepper],
        about: str,
        classes: Sequence[str],
        **expected_input,
    ) -> None:
        super().__init__(about, classes, **expected_input)
        self._compute, self._stream = compute, stream

    def stream(self) -> Stepper:
        return self._stream()

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        return self._compute(views)


def one_view_at_a_time(compute: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """For TensorFlow: a larger batch is no faster on a CPU, and feature maps of ten views of 50 frames take gigabytes."""
    return lambda views: np.concatenate([np.asarray(compute(view[np.newaxis])) for view in views])


class StatefulStepper:
    """A pair of TensorFlow functions with the interface of a Stepper.

    Args:
      call: (float32 (1, 1, size, size, 3), states) -> (logits (1, N), states).
      init_states: () -> the states before the first frame.
    """

    def __init__(self, call: Callable, init_states: Callable) -> None:
        self._call, self._init_states = call, init_states
        self._states = init_states()

    def reset(self) -> None:
        self._states = self._init_states()

    def step(self, image: np.ndarray) -> np.ndarray:
        logits, self._states = self._call(image[None, None], self._states)
        return np.asarray(logits)[0]
