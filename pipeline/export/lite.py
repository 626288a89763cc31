"""A stream network in a TensorFlow Lite file, run frame by frame by LiteRT: no TensorFlow, a start in a tenth of a second.

Labels, frame rate and the rest are read from inside the file, so that a file is all that has to be handed on.
"""

from pathlib import Path

import numpy as np

from pipeline.console import UserError, without_chatter
from pipeline.export.metadata import read_metadata

IMAGE, LOGITS = "image", "logits"


class LiteClassifier:
    """One stream: `step` takes a frame and remembers what it needs of it; `reset` forgets.

    Attributes:
      classes: names, in the order of the logits.
      fps: frames a second that it was trained at; None where neither the file nor the caller says.
      size: pixels of a side.
      format: float32, float16, dynamic or int8; None for a file of others.
      model: the variant's id; None for a file of others.
      state_bytes: what is remembered between frames.
    """

    def __init__(self, path: Path, threads: int = 1, *, labels: list[str] | None = None, fps: float | None = None):
        """Opens `path`. `labels` and `fps`: for files in the published layout that hold no metadata of ours.

        Raises:
          UserError: not there, not a TensorFlow Lite file, not a stream network, or without labels that fit.
        """
        from ai_edge_litert.interpreter import Interpreter

        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: not found; `dvc repro export` makes models/export/*.tflite of a stream network")
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
            raise UserError(f"{path}: not a stream network: it should take image and states, and give logits and the same states")
        shape = tuple(inputs[IMAGE]["shape"])
        if len(shape) != 5 or shape[:2] != (1, 1) or shape[2] != shape[3] or inputs[IMAGE]["dtype"] != np.float32:
            raise UserError(f"{path}: takes images {shape} of {np.dtype(inputs[IMAGE]['dtype'])}, not one square float32 frame")
        about = read_metadata(path)
        if about is None and labels is None:
            raise UserError(f"{path}: holds no labels; name the file that lists its {outputs[LOGITS]['shape'][-1]} classes")
        about = about or {}
        self.classes: list[str] = list(labels if labels is not None else about["classes"])
        if len(self.classes) != outputs[LOGITS]["shape"][-1]:
            raise UserError(f"{path}: has {outputs[LOGITS]['shape'][-1]} classes, but {len(self.classes)} labels are given")
        self.fps: float | None = fps if fps is not None else about.get("fps")
        self.size, self.format, self.model = int(shape[2]), about.get("format"), about.get("model")
        self._image, self._logits = inputs[IMAGE]["index"], outputs[LOGITS]["index"]
        names = sorted(set(inputs) - {IMAGE})
        # Where a network leaves a state alone, what goes in and what comes out are one tensor.
        self._pairs = [(inputs[name]["index"], outputs[name]["index"]) for name in names]
        self._start = [(inputs[name]["index"], inputs[name]["quantization"][1]) for name in names]
        self.state_bytes = sum(int(np.prod(inputs[name]["shape"])) * np.dtype(inputs[name]["dtype"]).itemsize for name in names)
        self.reset()

    def reset(self) -> None:
        """Forgets every frame: a new clip begins."""
        for place, zero in self._start:
            self._interpreter.tensor(place)()[...] = zero

    def step(self, image: np.ndarray) -> np.ndarray:
        """The logits, float32 (N,), after the next frame, float32 (size, size, 3) in [0, 1].

        Raises:
          ValueError: another shape or type.
        """
        if image.shape != (self.size, self.size, 3) or image.dtype != np.float32:
            raise ValueError(f"expected float32 ({self.size}, {self.size}, 3), got {image.dtype} {image.shape}")
        tensor = self._interpreter.tensor
        tensor(self._image)()[0, 0] = image
        self._interpreter.invoke()
        for before, after in self._pairs:
            if before != after:
                np.copyto(tensor(before)(), tensor(after)())
        return tensor(self._logits)()[0].copy()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
