"""Converts a stream network to a TensorFlow Lite file.

The file has one signature, `call`: a frame and the states -> logits and the next states. It uses only builtin operations. Inputs
and outputs are float32 (frame counts int32) in every format, and have the names of the published models.
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
    """Returns the content of a .tflite file, including labels and metadata.

    Args:
      format: one of EXPORT_FORMATS:
        float32.
        float16: float16 weights.
        dynamic: int8 weights, and activations quantised to int8 at run time.
        int8: int8 weights and activations, except where this costs accuracy (docs/quantisation.md).
      calibration: for int8: clips float32 (T, size, size, 3) in [0, 1], from which the ranges of the activations are measured.

    Raises:
      ValueError: unknown format, or int8 without calibration.
    """
    if format not in EXPORT_FORMATS:
        raise ValueError(f"no format {format!r}; known: {', '.join(EXPORT_FORMATS)}")
    if format == "int8":
        if calibration is None:
            raise ValueError("format int8 needs clips to calibrate on")
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
    return add_metadata(content, _metadata_of(classifier, format))


def _metadata_of(classifier: Stream, format: str) -> LiteMetadata:
    sampling = classifier.sampling
    views = {} if sampling is None else {"count": sampling.count, "sampling": sampling.where, "short_clips": sampling.short_clips}
    return LiteMetadata(
        model=classifier.model,
        format=format,
        fps=classifier.fps,
        size=classifier.size,
        classes=list(classifier.classes),  # TensorFlow wraps the lists of its modules, which pydantic reads as empty
        views=classifier.views,
        decision=classifier.decision,
        **views,
    )
