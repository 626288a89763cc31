"""An exported SavedModel, run frame by frame. It contains a description of the input that it expects."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.artifacts import Decision
from pipeline.console import UserError
from pipeline.inference.stepper import signature_call
from pipeline.video.sampling import Sampling


def load_saved_model(folder: Path):
    """`tf.saved_model.load`, but raises UserError for a folder that cannot be read."""
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{folder}: cannot be read as a SavedModel ({' '.join(str(error).split())[:200]})") from error


class SavedStream:
    """See `stepper.Stepper`.

    Attributes:
      classes: names in the order of the logits.
      fps: frames a second.
      size: pixels of a side.
      sampling, views: of whole clips; None for a SavedModel of an earlier version, which does not state them.
      decision: when a prediction is unknown; None if the SavedModel does not state it.
      state_bytes: size of the states between frames.
    """

    def __init__(self, folder: Path):
        """Raises UserError for a SavedModel that does not run frame by frame."""
        loaded = load_saved_model(folder)
        if not all(hasattr(loaded, part) for part in ("call", "init_states", "classes", "fps")):
            message = f"{folder}: a SavedModel that does not describe its input"
            raise UserError(message, advice="for a network of whole clips, name the classifier's folder (models/classifier)")
        self._loaded = loaded  # keeps the variables of its functions alive
        self._call = signature_call(loaded)
        self._initial_states = loaded.init_states()
        (image,) = [spec for spec in loaded.signatures["call"].structured_input_signature[1].values() if spec.name == "image"]
        self.classes = [label.decode() for label in loaded.classes.numpy()]
        self.fps, self.size = float(loaded.fps), int(image.shape[2])
        self.sampling = self.views = None
        if hasattr(loaded, "count"):
            self.views = int(loaded.views)
            options = [loaded.sampling, loaded.short_clips] if hasattr(loaded, "sampling") else []
            self.sampling = Sampling(int(loaded.count), self.size, *(value.numpy().decode() for value in options))
        self.decision = None
        if hasattr(loaded, "decision"):
            self.decision = Decision.model_validate_json(loaded.decision.numpy())
        self.state_bytes = sum(state.numpy().nbytes for state in self._initial_states.values())
        self.reset()

    def reset(self) -> None:
        self._states = self._initial_states

    def step(self, image: np.ndarray) -> np.ndarray:
        logits, self._states = self._call(tf.constant(image[None, None]), self._states)
        return logits[0].numpy()
