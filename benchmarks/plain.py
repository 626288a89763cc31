"""The plain way: what the MoViNet tutorials do, written afresh, with the Model Garden's own convolutions.

Every epoch opens each video anew, seeks a random start, reads frames a fixed step apart, and pads each to a square; the whole
network runs on them again, though its backbone is frozen; then `fit`, `evaluate`, `predict`. Nothing is kept.
"""

import functools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.console import UserError
from pipeline.models.movinet.settings import Settings

if TYPE_CHECKING:
    import tensorflow as tf

Labelled = tuple[str, int]  # a video's path and its class


def _padded(frame: np.ndarray, size: int) -> "tf.Tensor":
    """A frame, uint8 (H, W, 3), as float32 (size, size, 3) in [0, 1], its aspect kept, the rest black."""
    import tensorflow as tf

    return tf.image.resize_with_pad(tf.image.convert_image_dtype(frame, tf.float32), size, size)


def read_view(path: Path | str, count: int, size: int, fps: float, rng: random.Random) -> np.ndarray:
    """`count` frames of a video from a random start, about 1/fps seconds apart; black ones where it ends sooner.

    Returns float32 (count, size, size, 3), RGB in [0, 1]. Raises UserError where the video cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        step = max(1, round(capture.get(cv2.CAP_PROP_FPS) / fps))
        spare = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - (1 + (count - 1) * step)
        if spare > 0:
            capture.set(cv2.CAP_PROP_POS_FRAMES, rng.randint(0, spare))
        good, frame = capture.read()
        if not good:
            raise UserError(f"{path}: OpenCV cannot read it; take it out of the folder given with --clips")
        frames = [_padded(frame, size)]
        for _ in range(count - 1):
            for _ in range(step):
                good, frame = capture.read()
            frames.append(_padded(frame, size) if good else np.zeros_like(frames[0]))
    finally:
        capture.release()
    return np.stack(frames)[..., ::-1]


@dataclass(frozen=True)
class Views:
    """A generator for tf.data: (float32 (count, size, size, 3), int16 label) of each clip, decoded anew each time."""

    clips: tuple[Labelled, ...]
    count: int
    size: int
    fps: float
    shuffle: bool
    rng: random.Random

    def __call__(self) -> Iterator[tuple[np.ndarray, int]]:
        order = list(self.clips)
        if self.shuffle:
            self.rng.shuffle(order)
        for path, label in order:
            yield read_view(path, self.count, self.size, self.fps, self.rng), label

    def batches(self, batch: int) -> "tf.data.Dataset":
        import tensorflow as tf

        signature = (
            tf.TensorSpec((self.count, self.size, self.size, 3), tf.float32),
            tf.TensorSpec((), tf.int16),
        )
        return tf.data.Dataset.from_generator(self, output_signature=signature).batch(batch)


@dataclass(frozen=True)
class Job:
    """Epochs, an evaluation and a confusion matrix. `model.convolutions` is "stock", or "fast" for the same numbers sooner."""

    train: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    classes: int
    model: Settings
    count: int
    size: int
    fps: float
    batch: int
    epochs: int
    learning_rate: float
    seed: int

    def views(self, clips: Sequence[Labelled], shuffle: bool) -> Views:
        return Views(tuple(clips), self.count, self.size, self.fps, shuffle, random.Random(self.seed))

    @property
    def train_steps(self) -> int:
        """Steps of one epoch."""
        return -(-len(self.train) // self.batch)

    @property
    def test_steps(self) -> int:
        return -(-len(self.test) // self.batch)


def _stopwatch():
    """A Keras callback whose `seconds` are those of each step, its input included."""
    import tf_keras

    class Stopwatch(tf_keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seconds: list[float] = []

        def _begin(self, batch, logs=None):
            self.started = time.perf_counter()

        def _end(self, batch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)

        on_train_batch_begin = on_test_batch_begin = _begin
        on_train_batch_end = on_test_batch_end = _end

    return Stopwatch()


def _compiled(job: Job):
    """The network with a frozen backbone and a new head, ready to fit."""
    import tf_keras

    from pipeline.models.movinet.network.classifier import initial_classifier

    model, _ = initial_classifier(job.model, job.classes, seed=job.seed, reuse_projection=False)
    model.backbone.trainable = False
    model.compile(
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=tf_keras.optimizers.Adam(job.learning_rate),
        metrics=["accuracy"],
    )
    return model


@functools.lru_cache(maxsize=1)
def _kept(job: Job):
    """The job's model, kept between measurements of single steps, and the seconds it took to build."""
    start = time.perf_counter()
    return _compiled(job), time.perf_counter() - start


def run_steps(job: Job, steps: int) -> dict[str, list[float]]:
    """Seconds of the first `steps` steps of fit and of evaluate: {"train": [...], "evaluate": [...]}.

    A process's first call compiles: its first steps are not like the others. "build" holds the seconds that building took.
    """
    model, build = _kept(job)
    train = job.views(job.train, shuffle=True).batches(job.batch).take(steps)
    test = job.views(job.test, shuffle=False).batches(job.batch).take(steps)
    watches = {name: _stopwatch() for name in ("train", "evaluate")}
    model.fit(train, epochs=1, verbose=0, callbacks=[watches["train"]])
    model.evaluate(test, verbose=0, callbacks=[watches["evaluate"]])
    return {name: watch.seconds for name, watch in watches.items()} | {"build": [build]}


def run_whole(job: Job) -> dict:
    """The whole job from building on: {"seconds", "accuracy" on the test clips, "train": seconds of each step}."""
    from sklearn.metrics import confusion_matrix

    start = time.perf_counter()
    model = _compiled(job)
    watch = _stopwatch()
    train = job.views(job.train, shuffle=True).batches(job.batch)
    test = job.views(job.test, shuffle=False).batches(job.batch)
    model.fit(train, epochs=job.epochs, verbose=0, callbacks=[watch])
    accuracy = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    predicted = model.predict(test, verbose=0).argmax(axis=1)
    confusion_matrix([label for _, label in job.test], predicted)
    return {"seconds": time.perf_counter() - start, "accuracy": accuracy, "train": watch.seconds}


def decode_all(views: Views) -> float:
    """Seconds a clip, to go through the views once."""
    start = time.perf_counter()
    clips = sum(1 for _ in views())
    return (time.perf_counter() - start) / clips
