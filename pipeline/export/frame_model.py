"""A stream network as a SavedModel of one frame: the input of TensorFlow Lite's converter."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf

from pipeline.inference.lite import IMAGE, LOGITS
from pipeline.models.family import Stream

SIGNATURE = "call"


@contextmanager
def frame_model(classifier: Stream) -> Iterator[Path]:
    """Saves the network as a SavedModel with the signature SIGNATURE for one frame, in a temporary folder."""
    side = classifier.size
    specs = {IMAGE: tf.TensorSpec([1, 1, side, side, 3], tf.float32, name=IMAGE)} | classifier.state_specs

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        image = inputs.pop(IMAGE)
        logits, states = classifier.call.python_function(image, inputs)
        return {LOGITS: logits} | states

    module = tf.Module()
    module.call = tf.function(call, autograph=False)
    with TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.call.get_concrete_function(**specs)})
        yield Path(folder)


def make_converter(folder: Path) -> tf.lite.TFLiteConverter:
    """A converter of the SavedModel in `folder`, restricted to builtin operations."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def stream_inputs(classifier: Stream, clips: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the inputs of the signature for each frame of clips float32 (T, size, size, 3): the image and the current states."""
    for clip in clips:
        states = classifier.init_states()
        for frame in clip:
            image = tf.constant(frame[None, None])
            yield {IMAGE: image.numpy()} | {name: state.numpy() for name, state in states.items()}
            _, states = classifier.call(image, states)
