"""A classifier of brightness, as a stream of frames and as a SavedModel of whole clips, and clips for it."""

from pathlib import Path

import numpy as np

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.inference.models import ClipPredictor, StreamingPredictor
from pipeline.video.sampling import Sampling

CLASSES = ["Dark", "Grey, middling", "Bright"]
SIZE, FPS, COUNT, VIEWS = 32, 5.0, 4, 2
DECISION = Decision(threshold=0.6, by="coverage", level=0.95, coverage=0.95, precision=0.9, clip_seconds=2.0)
EXPECTED_INPUT = {"fps": FPS, "size": SIZE, "sampling": Sampling(COUNT, SIZE), "views": VIEWS}


def logits(mean):
    """Logits of a mean brightness in [0, 1], for NumPy and TensorFlow numbers."""
    return [20 * (0.35 - mean), 0 * mean, 20 * (mean - 0.65)]


class Brightness:
    """A Stepper: classifies the mean brightness of all frames so far."""

    def __init__(self):
        self.resets = 0
        self.reset()

    def reset(self):
        self.total, self.frames = 0.0, 0
        self.resets += 1

    def step(self, image):
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.float32 and image.max() <= 1
        self.total += float(image.mean())
        self.frames += 1
        return np.array(logits(self.total / self.frames), np.float32)


def streaming() -> StreamingPredictor:
    return StreamingPredictor(Brightness(), "brightness", CLASSES, **EXPECTED_INPUT)


def whole_clips(stream) -> ClipPredictor:
    def compute(views):
        assert views.shape[1:] == (COUNT, SIZE, SIZE, 3)
        powers = np.exp(np.stack(logits(views.mean(axis=(1, 2, 3, 4))), axis=-1))
        return powers / powers.sum(axis=-1, keepdims=True)

    return ClipPredictor(compute, stream, "brightness", CLASSES, **EXPECTED_INPUT)


def write_classifier(folder: Path, decision: Decision | None = None) -> Path:
    """Writes the same classifier as finetune would, without a checkpoint."""
    import tensorflow as tf

    class Classifier(tf.Module):
        def __init__(self):
            super().__init__()
            self.gain = tf.Variable(1.0)

        @tf.function(input_signature=[tf.TensorSpec([None, COUNT, SIZE, SIZE, 3], tf.float32)])
        def probabilities(self, views):
            return tf.nn.softmax(self.gain * tf.stack(logits(tf.reduce_mean(views, axis=(1, 2, 3, 4))), axis=-1))

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")])
        def serve(self, frames):
            from pipeline.video.views import test_views

            views = test_views(frames, Sampling(COUNT, SIZE), VIEWS)
            each = self.probabilities(tf.reshape(views, [-1, COUNT, SIZE, SIZE, 3]))
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, VIEWS, len(CLASSES)]), axis=1)}

    module = Classifier()
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.serve})
    description = ClassifierDescription(
        classes=CLASSES,
        model="a0",
        activation="swish",
        fps=FPS,
        size=SIZE,
        count=COUNT,
        views=VIEWS,
        decision=decision,
    )
    description.write(folder / "classifier.json")
    return folder


def write_video(path: Path, levels: list[int], fps: float = 5.0) -> Path:
    """Writes a video of uniform frames. levels: brightness of each frame, 0..255."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), fps, (48, 36))
    assert writer.isOpened()
    for level in levels:
        writer.write(np.full((36, 48, 3), level, np.uint8))
    writer.release()
    return path
