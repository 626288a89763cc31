"""The classifier as MLflow's registry serves it: uint8 frames in, a probability a class out.

MLflow copies this one file beside the SavedModel and runs it wherever the model is loaded, so it must not import anything of
this project. `mlflow.pyfunc.load_model("models:/<data>-<model>@latest").predict(frames)`, or `mlflow models serve`, whose
clients post `{"inputs": <nested lists of 0..255>}`.
"""

import json

import mlflow
import numpy as np
import pandas as pd


class Classifier(mlflow.pyfunc.PythonModel):
    """Wraps the signature `serving_default` of a SavedModel; `artifacts` are the SavedModel and its description (JSON)."""

    def load_context(self, context):
        import tensorflow as tf  # here, so that logging a model does not wait for it

        with open(context.artifacts["description"], encoding="utf-8") as file:
            self.description = json.load(file)
        self.model = tf.saved_model.load(context.artifacts["saved_model"])  # owns the variables of the signature

    def predict(self, context, model_input: np.ndarray, params=None) -> pd.DataFrame:
        """uint8 frames (B, T, H, W, 3), RGB, at the model's frame rate -> DataFrame, B rows, a column of probabilities a class.

        Whole clips of any length and size: views and crops are chosen inside the model, as in evaluation.

        Raises MlflowException (HTTP status 400 when served) for input of another shape, type or range.
        """
        import tensorflow as tf

        frames = self._checked(model_input)
        probabilities = self.model.signatures["serving_default"](frames=tf.constant(frames))["probabilities"]
        return pd.DataFrame(probabilities.numpy(), columns=self.description["classes"])

    def _checked(self, frames):
        fps = self.description.get("fps")
        wanted = f"this model takes uint8 frames (clips, frames, height, width, 3), RGB in 0..255, {fps} a second"
        if not isinstance(frames, np.ndarray):
            raise _bad_input(f"{type(frames).__name__} given, not an array; {wanted}")
        if frames.ndim != 5 or frames.shape[-1] != 3:
            raise _bad_input(f"shape {frames.shape} given; {wanted}")
        if frames.dtype != np.uint8:
            raise _bad_input(f"dtype {frames.dtype} given; {wanted}")
        if 0 in frames.shape:
            raise _bad_input(f"shape {frames.shape} given, which is empty; {wanted}")
        if frames.max() == 1:  # cast from 0..1
            raise _bad_input(f"no value above 1 given, as if scaled to 0..1; {wanted}")
        return frames


def _bad_input(message):
    return mlflow.MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(Classifier())
