"""A classifier of whichever format behind one interface, so that the answers do not depend on what it was read from.

Invariants: `probabilities` takes views as the network is fed, and gives a row a view; a clip's answer is their mean. A
format that runs frame by frame answers for a view with what it says after the view's last frame, from fresh states: the networks
are causal, so this is the whole view's answer.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.console import UserError
from pipeline.inference.stepper import Stepper, softmax
from pipeline.video.sampling import Sampling, uniform_indices

CLIP_SECONDS = 10  # of a view where nothing else is known: published networks were trained and measured on clips of 10 s
MAX_VIEWS = 10  # of a long clip, where the number is not the model's own


class Predictor:
    """A classifier and how to feed it.

    Attributes:
      about: what it is, for people.
      classes: N names in the order of its outputs. fps: frames a second. size: pixels of a side.
      sampling: how views are cut out of a clip; None: views of CLIP_SECONDS, or of the whole clip where it is shorter.
      views: of a clip; None: as many as its length calls for.
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
    ) -> None:
        self.about, self.classes = about, list(classes)
        self.fps, self.size, self.sampling, self.views = fps, size, sampling, views

    def view_indices(self, total: int) -> np.ndarray:
        """The frames of each view of a clip of `total` frames: int (views, count)."""
        if self.sampling is None:
            count = min(total, round(CLIP_SECONDS * self.fps))
            return uniform_indices(total, count, self.views or self._views_for(total, count))
        return self.sampling.indices(total, self.views or self._views_for(total, self.sampling.count))

    def _views_for(self, total: int, count: int) -> int:
        return min(MAX_VIEWS, math.ceil(total / count))

    def stream(self) -> Stepper:
        """The same network frame by frame. Raises UserError where this is not possible."""
        raise NotImplementedError

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """float32 (V, count, size, size, 3) in [0, 1] -> float32 (V, N)."""
        raise NotImplementedError

    def clip_probabilities(self, views: np.ndarray) -> np.ndarray:
        """The answer for a clip, float32 (N,): the mean over its views."""
        return self.named(self.probabilities(views)).mean(axis=0)

    def named(self, outputs: np.ndarray) -> np.ndarray:
        """`outputs` (..., N) as they are; raises UserError where there are more or fewer of them than names."""
        if outputs.shape[-1] != len(self.classes):
            raise UserError(f"{self.about}: has {outputs.shape[-1]} outputs, but there are {len(self.classes)} class names")
        return outputs


class StreamingPredictor(Predictor):
    """A network that runs frame by frame, and so answers for whole views too. It is one network: one stream at a time."""

    def __init__(self, stepper: Stepper, about: str, classes: Sequence[str], **feeding) -> None:
        super().__init__(about, classes, **feeding)
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
    """A network that takes whole views; `stream` loads its other form."""

    def __init__(
        self,
        compute: Callable[[np.ndarray], np.ndarray],
        stream: Callable[[], Stepper],
        about: str,
        classes: Sequence[str],
        **feeding,
    ) -> None:
        super().__init__(about, classes, **feeding)
        self._compute, self._stream = compute, stream

    def stream(self) -> Stepper:
        return self._stream()

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        # One view at a time: a larger batch is no faster on a CPU, and ten views of 50 frames hold gigabytes of feature maps.
        return np.concatenate([np.asarray(self._compute(view[None])) for view in views])


class StatefulStepper:
    """A pair of TensorFlow functions as a Stepper.

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
