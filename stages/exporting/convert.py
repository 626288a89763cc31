"""A stream network as a TensorFlow Lite file: one signature, `call`, from a frame and the states to logits and the next states.

Only operations that every TensorFlow Lite runtime has. Inputs and outputs are float32 (frame counts int32) in every format, named
as in the published models.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf

from stages.console import without_chatter
from stages.exporting.lite import IMAGE, LOGITS
from stages.exporting.metadata import with_metadata
from stages.movinet.streaming import StreamingClassifier
from stages.params import EXPORT_FORMATS


def convert(classifier: StreamingClassifier, format: str, calibration: Iterable[np.ndarray] | None = None) -> bytes:
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
        from stages.exporting.quantise import quantised

        content = quantised(classifier, calibration)
    else:
        with frame_model(classifier) as folder:
            converter = converter_of(folder)
            if format != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if format == "float16":
                converter.target_spec.supported_types = [tf.float16]
            with without_chatter():
                content = converter.convert()
    return with_metadata(content, about(classifier, format))


def about(classifier: StreamingClassifier, format: str) -> dict:
    """What is said inside a file."""
    return {
        "model": classifier.variant.id,
        "format": format,
        "fps": float(classifier.fps),
        "size": classifier.size,
        "count": classifier.count,
        "views": classifier.views,
        "classes": list(classifier.classes),
    }


@contextmanager
def frame_model(classifier: StreamingClassifier) -> Iterator[Path]:
    """A SavedModel of one frame at the classifier's size, in a temporary folder: what converters read."""
    side = classifier.size
    specs = {IMAGE: tf.TensorSpec([1, 1, side, side, 3], tf.float32, name=IMAGE)} | classifier.specs(side)

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        image = inputs.pop(IMAGE)
        logits, states = classifier.call.python_function(image, inputs)
        return {LOGITS: logits} | states

    module = tf.Module()
    module.call = tf.function(call, autograph=False)
    with TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"call": module.call.get_concrete_function(**specs)})
        yield Path(folder)


def converter_of(folder: Path) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["call"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def streamed(classifier: StreamingClassifier, clips: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of every frame of clips float32 (T, size, size, 3): the image, and the states as they are by then."""
    for clip in clips:
        states = classifier.init_states()
        for frame in clip:
            image = tf.constant(frame[None, None])
            yield {IMAGE: image.numpy()} | {name: state.numpy() for name, state in states.items()}
            _, states = classifier.call(image, states)
