"""A stream network in a TensorFlow Lite file, run frame by frame by LiteRT: without TensorFlow, it starts in a tenth of a second.

Labels, frame rate and other metadata are inside the file, so the file is all that has to be distributed.
"""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.artifacts import Decision
from pipeline.console import UserError, without_chatter

IMAGE, LOGITS = "image", "logits"
ABOUT = "movinet.json"  # name of the metadata in the zip archive at the end of a file


class LiteMetadata(BaseModel):
    """The metadata in an exported file; see `ClassifierDescription`. A value is None if an earlier version did not write it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str
    format: str
    fps: float
    size: int
    classes: list[str]
    count: int | None = None
    views: int | None = None
    sampling: Literal["uniform", "first"] = "uniform"
    short_clips: Literal["repeat", "pad"] = "repeat"
    decision: Decision | None = None


def read_metadata(path: Path) -> LiteMetadata | None:
    """The metadata of a file; None for a file that this pipeline did not export."""
    try:
        with zipfile.ZipFile(path) as archive:
            return LiteMetadata.model_validate_json(archive.read(ABOUT))
    except (zipfile.BadZipFile, KeyError):
        return None
    except ValidationError as error:
        raise UserError(f"{path}: its {ABOUT} cannot be read ({error.errors()[0]['msg']})", advice="export it again") from error


class LiteClassifier:
    """One stream: `step` takes a frame and updates the states; `reset` resets them.

    Attributes:
      classes: names in the order of the logits.
      fps: frames a second that it was trained at; None if neither the file nor the caller states it.
      size: pixels of a side.
      format: float32, float16, dynamic or int8; None for a file without metadata.
      model: the model's id; None for a file without metadata.
      state_bytes: size of the states between frames.
    """

    def __init__(self, path: Path, threads: int = 1, *, labels: list[str] | None = None, fps: float | None = None):
        """Opens `path`. labels, fps: for files in the published layout, which have no metadata.

        Raises:
          UserError: if the file does not exist, is not a TensorFlow Lite file, not a stream network, or has no suitable labels.
        """
        from ai_edge_litert.interpreter import Interpreter

        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: not found", advice="`dvc exp run -S export=tflite` makes models/export/*.tflite")
        try:
            with without_chatter():
                self._interpreter = Interpreter(str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            (key,) = self._interpreter.get_signature_list() or [None]
            runner = self._interpreter.get_signature_runner(key)
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a TensorFlow Lite file with one signature ({_short(error)})") from error
        if IMAGE not in inputs or LOGITS not in outputs or set(inputs) - {IMAGE} != set(outputs) - {LOGITS}:
            raise UserError(f"{path}: not a stream network, which takes image and states, and returns logits and the same states")
        shape = tuple(inputs[IMAGE]["shape"])
        if len(shape) != 5 or shape[:2] != (1, 1) or shape[2] != shape[3] or inputs[IMAGE]["dtype"] != np.float32:
            raise UserError(f"{path}: takes images {shape} of {np.dtype(inputs[IMAGE]['dtype'])}, not one square float32 frame")
        about = read_metadata(path)
        if about is None and labels is None:
            advice = f"name the file that lists its {outputs[LOGITS]['shape'][-1]} classes"
            raise UserError(f"{path}: holds no labels", advice=advice)
        self.classes: list[str] = list(labels if labels is not None else about.classes)
        if len(self.classes) != outputs[LOGITS]["shape"][-1]:
            raise UserError(f"{path}: has {outputs[LOGITS]['shape'][-1]} classes, but {len(self.classes)} labels are given")
        self.fps: float | None = fps if fps is not None or about is None else about.fps
        self.size = int(shape[2])
        self.format, self.model = (None, None) if about is None else (about.format, about.model)
        self._image, self._logits = inputs[IMAGE]["index"], outputs[LOGITS]["index"]
        names = sorted(set(inputs) - {IMAGE})
        # If a network does not change a state, its input and output are the same tensor.
        self._state_pairs = [(inputs[name]["index"], outputs[name]["index"]) for name in names]
        self._zeros = [(inputs[name]["index"], inputs[name]["quantization"][1]) for name in names]
        self.state_bytes = sum(int(np.prod(inputs[name]["shape"])) * np.dtype(inputs[name]["dtype"]).itemsize for name in names)
        self.reset()

    def reset(self) -> None:
        """Resets the states: a new clip begins."""
        for index, zero in self._zeros:
            self._interpreter.tensor(index)()[...] = zero

    def step(self, image: np.ndarray) -> np.ndarray:
        """The logits, float32 (N,), after the next frame, float32 (size, size, 3) in [0, 1].

        Raises:
          ValueError: if the shape or type differs.
        """
        if image.shape != (self.size, self.size, 3) or image.dtype != np.float32:
            raise ValueError(f"expected float32 ({self.size}, {self.size}, 3), got {image.dtype} {image.shape}")
        tensor = self._interpreter.tensor
        tensor(self._image)()[0, 0] = image
        self._interpreter.invoke()
        for before, after in self._state_pairs:
            if before != after:
                np.copyto(tensor(before)(), tensor(after)())
        return tensor(self._logits)()[0].copy()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
