"""The classifier as MLflow's registry serves it: clips in, a probability a class out.

MLflow copies this one file next to the SavedModel and runs it wherever the model is loaded, so it must not import anything of
this project. The code that decodes videos is copied too, as an artifact, so a served video gives the frames that the stages see.
`mlflow.pyfunc.load_model("models:/<data>-<model>@latest").predict(frames)`, or `mlflow models serve`, whose clients post
`{"dataframe_records": [{"video": "<a video file in base64>"}]}`. With `params={"output": "class"}` (served: `"params"` next to
the records) the answer is a class, or that it is unknown, instead of probabilities.
"""

import base64
import binascii
import importlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

LONGEST = 600  # seconds of a video; a longer one could take all the memory of a server
MOST_BYTES = 1 << 30  # of a video's frames, scaled, for the same reason
# FFmpeg's names of the containers that are opened. Others could make it read more files than the one that was sent: playlists.
PROBABILITIES, CLASS = "probabilities", "class"  # values of the parameter `output`
FORMATS = ("mov", "mp4", "3gp", "matroska", "webm", "avi", "mpeg", "mpegts", "gif", "flv", "asf", "ogg", "mxf")


class Classifier(mlflow.pyfunc.PythonModel):
    """Wraps the signature `serving_default` of a SavedModel.

    `artifacts`: the SavedModel, its description (JSON), and `decoder`, a package with the module `video.decode`.
    """

    def load_context(self, context):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is loaded: a server's log starts with our lines
        logging.getLogger("absl").setLevel(logging.ERROR)
        import tensorflow as tf  # here, so that logging a model does not wait for it

        with open(context.artifacts["description"], encoding="utf-8") as file:
            self.description = json.load(file)
        self.model = tf.saved_model.load(context.artifacts["saved_model"])  # owns the variables of the signature
        self.decode = _import_decoder(Path(context.artifacts["decoder"]))

    def predict(self, context, model_input: np.ndarray, params=None) -> pd.DataFrame:
        """uint8 frames (B, T, H, W, 3), RGB, at the model's frame rate -> DataFrame, B rows, a column of probabilities a class.

        params: with `output` = "class" the columns are instead `class` (text; None where unknown), `confidence` and `unknown`. A
        clip is unknown if its confidence is below `threshold`, which is by default the one chosen after training.

        Whole clips of any length and size: views and crops are chosen inside the model, as in evaluation. Or B videos of any
        lengths: an object array (B,) of a file's content each, as bytes or in base64 (a DataFrame's one column arrives as this).

        Raises MlflowException (HTTP status 400 when served) for input of another shape, type or range, for videos that cannot be
        decoded or last longer than LONGEST seconds, and for other values of the parameters.
        """
        output = (params or {}).get("output", PROBABILITIES)
        if output not in (PROBABILITIES, CLASS):
            raise _bad_input(f"output {output!r} given; it is {PROBABILITIES} or {CLASS}")
        if _are_videos(model_input):
            clips = (self._decoded(video, f"video {number} of {len(model_input)}") for number, video in enumerate(model_input, 1))
            table = pd.concat([self._classified(clip) for clip in clips], ignore_index=True)
        else:
            table = self._classified(self._checked(model_input))
        return table if output == PROBABILITIES else self._answered(table, (params or {}).get("threshold"))

    def _answered(self, table: pd.DataFrame, threshold: float | None) -> pd.DataFrame:
        """The answer for each row of probabilities, as predict gives it; see `pipeline.evaluation.decision`."""
        decision = self.description["decision"]
        classes, probabilities = self.description["classes"], table.to_numpy(np.float64)
        background = classes.index(decision["background"]) if decision["background"] is not None else None
        known = probabilities.copy()
        if background is not None:
            known[:, background] = -1
        best = known.argmax(axis=1)
        confidence = known[np.arange(len(known)), best]
        unknown = confidence < (decision["threshold"] if threshold is None else threshold)
        if background is not None:
            unknown |= probabilities.argmax(axis=1) == background
        names = [None if is_unknown else classes[label] for label, is_unknown in zip(best, unknown, strict=True)]
        return pd.DataFrame({"class": pd.Series(names, dtype=object), "confidence": confidence, "unknown": unknown})

    def _classified(self, frames: np.ndarray) -> pd.DataFrame:
        import tensorflow as tf

        probabilities = self.model.signatures["serving_default"](frames=tf.constant(frames))["probabilities"]
        return pd.DataFrame(probabilities.numpy(), columns=self.description["classes"])

    def _decoded(self, video: bytes | str, name: str) -> np.ndarray:
        """The frames of a video file's content: uint8 (1, T, H, W, 3)."""
        fps = self.description["fps"]
        most = int(LONGEST * fps)
        with tempfile.NamedTemporaryFile(prefix="video-") as file:
            file.write(_content(video, name))
            file.flush()
            try:
                images, held = [], 0
                for _, image in self.decode.iterate_frames(Path(file.name), fps, self.description["size"], formats=FORMATS):
                    images.append(image)
                    held += image.nbytes
                    if len(images) > most:
                        raise _bad_input(f"{name}: longer than {LONGEST} seconds; send a part of it")
                    if held > MOST_BYTES:
                        raise _bad_input(f"{name}: its frames take more than {MOST_BYTES >> 20} MB; send a part of it")
            except self.decode.BrokenVideo as error:
                raise _bad_input(f"{name}: {error.reason}") from None
        return np.stack(images)[None]

    def _checked(self, frames):
        fps = self.description.get("fps")
        wanted = (
            f"this model takes uint8 frames (clips, frames, height, width, 3), RGB in 0..255, {fps} a second, or videos: "
            "one column of files' contents, as bytes or in base64"
        )
        if not isinstance(frames, np.ndarray):
            raise _bad_input(f"{type(frames).__name__} given, not an array; {wanted}")
        if frames.dtype == object:
            frames = _as_numbers(frames)
        if frames.ndim != 5 or frames.shape[-1] != 3:
            raise _bad_input(f"shape {frames.shape} given; {wanted}")
        if frames.dtype != np.uint8:
            raise _bad_input(f"dtype {frames.dtype} given; {wanted}")
        if 0 in frames.shape:
            raise _bad_input(f"shape {frames.shape} given, which is empty; {wanted}")
        if frames.max() == 1:  # cast from 0..1
            raise _bad_input(f"no value above 1 given, as if scaled to 0..1; {wanted}")
        return frames


def _import_decoder(package: Path):
    """`video.decode` of a package in any folder, under a unique name: each loaded model decodes with the code that it carries."""
    name = f"decoder_{uuid.uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, package / "__init__.py", submodule_search_locations=[str(package)])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return importlib.import_module(f"{name}.video.decode")


def _are_videos(given) -> bool:
    """Whether `given` is an object array (B,) of bytes and texts, at least one."""
    column = isinstance(given, np.ndarray) and given.dtype == object and given.ndim == 1 and len(given) > 0
    return column and all(isinstance(item, (bytes, str)) for item in given)


def _content(video: bytes | str, name: str) -> bytes:
    if isinstance(video, bytes):
        return video
    try:
        return base64.b64decode("".join(video.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_input(f"{name}: not base64 ({error}); send a video file's content in base64") from None


def _as_numbers(frames: np.ndarray) -> np.ndarray:
    """Nested lists of a JSON request as an array: of uint8 where all are whole numbers in 0..255."""
    try:
        numbers = np.array(frames.tolist())
    except ValueError:  # lists of unequal lengths
        return frames
    fits = numbers.dtype.kind == "i" and numbers.size and numbers.min() >= 0 and numbers.max() <= 255
    return numbers.astype(np.uint8) if fits else numbers


def _bad_input(message):
    return mlflow.MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(Classifier())
