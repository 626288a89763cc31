"""A stream network as a TensorFlow Lite file: one signature, `call`, from a frame and the states to logits and the next states.

Only operations that every TensorFlow Lite runtime has. Inputs and outputs are float32 (frame counts int32) in every format, named
as in the published models.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from pipeline.console import without_chatter
from pipeline.export.frame_model import frame_model, make_converter
from pipeline.export.metadata import add_metadata
from pipeline.export.quantise import quantise
from pipeline.inference.lite import LiteMetadata
from pipeline.models.family import Stream
from pipeline.settings import EXPORT_FORMATS


def convert(classifier: Stream, format: str, calibration: Iterable[np.ndarray] | None = None) -> bytes:
    """The content of a .tflite file, with labels and metadata inside.

    Args:
      format: float32; float16, whose weights are; dynamic, whose weights are int8, and activations as it computes; int8, whose
        activations are too, where that costs little accuracy (docs/quantisation.md).
      calibration: for int8: clips float32 (T, size, size, 3) in [0, 1] from whose frames the ranges of the activations are taken.

    Raises:
      ValueError: no such format, or int8 without calibration.
    """
    if format not in EXPORT_FORMATS:
        raise ValueError(f"no format {format!r}; known: {', '.join(EXPORT_FORMATS)}")
    if format == "int8":
        if calibration is None:
            raise ValueError("int8 needs clips to calibrate on")
        content = quantise(classifier, calibration)
    else:
        with frame_model(classifier) as folder:
            converter = make_converter(folder)
            if format != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if format == "float16":
                converter.target_spec.supported_types = [tf.float16]
            with without_chatter():
                content = converter.convert()
    return add_metadata(content, about(classifier, format))


def about(classifier: Stream, format: str) -> LiteMetadata:
    """What is said inside a file."""
    sampling = classifier.sampling
    fed = {} if sampling is None else {"count": sampling.count, "sampling": sampling.where, "short_clips": sampling.short_clips}
    return LiteMetadata(
        model=classifier.model,
        format=format,
        fps=classifier.fps,
        size=classifier.size,
        classes=classifier.classes,
        views=classifier.views,
        **fed,
    )
