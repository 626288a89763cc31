"""The plain way: what the MoViNet tutorials do, written for this comparison, with the Model Garden's own convolutions.

Every epoch opens each video again, seeks a random start, reads frames a fixed step apart, and pads each to a square; the whole
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
import pandas as pd

from pipeline.console import UserError
from pipeline.models.movinet.settings import Settings
from pipeline.params import Params
from pipeline.settings import Finetune, Frames

if TYPE_CHECKING:
    import tensorflow as tf

Labelled = tuple[str, int]  # a video's path and its class


def labelled_clips(manifest: pd.DataFrame, clips: Path, *splits: str) -> tuple[Labelled, ...]:
    """Path and label of the splits' clips, in the manifest's order."""
    rows = manifest[manifest["split"].isin(splits)]
    return tuple((str(clips / clip), int(label)) for clip, label in zip(rows["clip"], rows["label"], strict=True))


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
            raise UserError(f"{path}: OpenCV cannot read it", advice="take it out of the folder given with --clips")
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
    """A generator for tf.data: (float32 (count, size, size, 3), int16 label) of each clip, decoded each time."""

    clips: tuple[Labelled, ...]
    frames: Frames
    shuffle: bool
    rng: random.Random

    def __call__(self) -> Iterator[tuple[np.ndarray, int]]:
        order = list(self.clips)
        if self.shuffle:
            self.rng.shuffle(order)
        for path, label in order:
            yield read_view(path, self.frames.count, self.frames.size, self.frames.fps, self.rng), label

    def batches(self, batch: int) -> "tf.data.Dataset":
        import tensorflow as tf

        shape = (self.frames.count, self.frames.size, self.frames.size, 3)
        signature = (tf.TensorSpec(shape, tf.float32), tf.TensorSpec((), tf.int16))
        return tf.data.Dataset.from_generator(self, output_signature=signature).batch(batch)


@dataclass(frozen=True)
class Job:
    """Epochs, an evaluation and a confusion matrix. `model.convolutions` is "stock", or "fast" for the same numbers sooner."""

    train: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    classes: int
    model: Settings
    frames: Frames
    finetune: Finetune
    seed: int

    @classmethod
    def of(cls, params: Params, manifest: pd.DataFrame, clips: Path) -> "Job":
        """The job that the pipeline does with `params`: same clips, frames, weights, batch, epochs and learning rate."""
        return cls(
            train=labelled_clips(manifest, clips, "train"),
            test=labelled_clips(manifest, clips, "test"),
            classes=manifest["class"].nunique(),
            model=params.model.model_copy(update={"convolutions": "stock"}),
            frames=params.frames,
            finetune=params.finetune,
            seed=params.seed,
        )

    @property
    def train_steps(self) -> int:
        """Steps of one epoch."""
        return -(-len(self.train) // self.finetune.batch_size)

    @property
    def test_steps(self) -> int:
        return -(-len(self.test) // self.finetune.batch_size)

    def datasets(self) -> "tuple[tf.data.Dataset, tf.data.Dataset]":
        """Batches of the training clips, shuffled, and of the test clips."""
        parts = ((self.train, True), (self.test, False))
        train, test = (Views(clips, self.frames, shuffle, random.Random(self.seed)) for clips, shuffle in parts)
        return train.batches(self.finetune.batch_size), test.batches(self.finetune.batch_size)

    def compiled(self):
        """The network with a frozen backbone and a new head, ready to fit."""
        import tf_keras

        from pipeline.models.movinet.network.classifier import initial_classifier

        variant, weights, convolutions = self.model.variant, self.model.weights, self.model.convolutions
        model, _ = initial_classifier(
            variant, weights, self.classes, seed=self.seed, convolutions=convolutions, reuse_projection=False
        )
        model.backbone.trainable = False
        model.compile(
            loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=tf_keras.optimizers.Adam(self.finetune.learning_rate),
            metrics=["accuracy"],
        )
        return model


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


@functools.lru_cache(maxsize=1)
def _kept(job: Job):
    """The job's model, kept between measurements of single steps, and the seconds it took to build."""
    start = time.perf_counter()
    return job.compiled(), time.perf_counter() - start


def run_steps(job: Job, steps: int) -> dict[str, list[float]]:
    """Seconds of the first `steps` steps of fit and of evaluate: {"train": [...], "evaluate": [...]}.

    A process's first call compiles: its first steps are not like the others. "build" holds the seconds that building took.
    """
    model, build = _kept(job)
    train, test = (dataset.take(steps) for dataset in job.datasets())
    watches = {name: _stopwatch() for name in ("train", "evaluate")}
    model.fit(train, epochs=1, verbose=0, callbacks=[watches["train"]])
    model.evaluate(test, verbose=0, callbacks=[watches["evaluate"]])
    return {name: watch.seconds for name, watch in watches.items()} | {"build": [build]}


def run_whole(job: Job) -> dict:
    """The whole job from building on: {"seconds", "accuracy" on the test clips, "epoch": seconds of the last epoch's steps}."""
    from sklearn.metrics import confusion_matrix

    start = time.perf_counter()
    model, watch = job.compiled(), _stopwatch()
    train, test = job.datasets()
    model.fit(train, epochs=job.finetune.epochs, verbose=0, callbacks=[watch])
    accuracy = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    predicted = model.predict(test, verbose=0).argmax(axis=1)
    confusion_matrix([label for _, label in job.test], predicted)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "accuracy": accuracy, "epoch": sum(watch.seconds[-job.train_steps :])}


def decode_all(clips: tuple[Labelled, ...], frames: Frames) -> float:
    """Seconds a clip, to read a view of each once."""
    start = time.perf_counter()
    for _ in Views(clips, frames, shuffle=False, rng=random.Random(0))():
        pass
    return (time.perf_counter() - start) / len(clips)


def can_read(path: str) -> bool:
    """Whether OpenCV has a decoder for the video; if not, a loop over its frames ends at once."""
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG).grab()


def read_bare(paths: Sequence[str], fps: float | None) -> float:
    """Seconds a clip of a loop that no decoder of all frames could beat, on one core; nothing is done with the frames.

    fps: grab every frame and retrieve those needed at this rate; None: read every frame.
    """
    start = time.perf_counter()
    for path in paths:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        step = 1 if fps is None else max(1, round(capture.get(cv2.CAP_PROP_FPS) / fps))
        number = 0
        while capture.grab():
            if number % step == 0:
                capture.retrieve()
            number += 1
        capture.release()
    return (time.perf_counter() - start) / len(paths)
