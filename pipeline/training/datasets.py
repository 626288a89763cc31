"""The datasets of the backbone and of the training loop.

Invariants: every order and every augmentation is a function of (seed, epoch, index of the example). So an epoch can be started in
the middle, and the rest of it is the same as in an uninterrupted run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tensorflow as tf

from pipeline.console import UserError
from pipeline.settings import Augment
from pipeline.training.balance import draw_offset
from pipeline.training.batch_shards import BatchShard
from pipeline.video.dataset import centred_views
from pipeline.video.parsing import decode_frames, parse_clip_header, read_clips
from pipeline.video.sampling import Sampling
from pipeline.video.views import (
    TrainView,
    centre_square,
    mirrored_labels,
    random_clip_indices,
    train_view,
    uniform_clip_indices,
)

SHUFFLE_BYTES = 512 << 20  # encoded clips in the shuffle buffer; the files already mix the classes
EPOCH_STRIDE = 1 << 24  # more than the examples of any epoch, so that no two augmentations use the same seed


@dataclass(frozen=True)
class ViewRecipe:
    """How clips are converted to views, in training and in testing.

    Attributes:
      flip: `data.flip`.
      classes: names in the order of the labels.
      seed: of the augmentation and of the order of examples.
    """

    sampling: Sampling
    augment: Augment
    flip: bool | dict[str, str]
    classes: list[str]
    seed: int

    @cached_property
    def mirrored(self) -> list[int]:
        """The label of a mirrored clip, by its own label; see `mirrored_labels`. Raises UserError for an invalid data.flip."""
        try:
            return mirrored_labels(self.classes, self.flip)
        except ValueError as error:
            raise UserError(str(error)) from None

    def centred(self, clip: dict, views: int) -> tf.Tensor:
        """The views that are used in testing: float32 (views, count, size, size, 3) in [0, 1]."""
        return centred_views(clip, views, self.sampling)

    def evenly_spaced(self, clip: dict, number: tf.Tensor, views: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """View `number` of `views` that are used in testing: float32 (count, size, size, 3) in [0, 1].

        positions: int (count,), of the frames in the order in which they are shown; see `Sampling.positions`.
        """
        indices = tf.gather(uniform_clip_indices(clip["count"], self.sampling, views)[number], positions)
        return centre_square(decode_frames(clip["encoded"], indices), self.sampling.size)

    def augmented_or_mirrored(self, clip: dict, seed: tf.Tensor, mirrors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """An augmented view, float32 (count, size, size, 3), and whether it was mirrored. mirrors: whether it may be."""
        # Two labels stand for all: one that may not be mirrored, and one that becomes a third.
        view = self._augmented(clip, tf.cast(mirrors, tf.int32), [-1, 2], seed)
        return view.frames, tf.equal(view.label, 2)

    def augmented(self, clip: dict, seed: tf.Tensor) -> TrainView:
        """An augmented view, float32 (count, size, size, 3), and its label, which mirroring may change. seed: int64 (2,)."""
        return self._augmented(clip, clip["label"], self.mirrored, seed)

    def _augmented(self, clip: dict, label: tf.Tensor, mirrored: list[int], seed: tf.Tensor) -> TrainView:
        frames_seed, pixels_seed = tf.unstack(tf.random.split(seed, 2))
        if self.augment.jitter:
            indices = random_clip_indices(clip["count"], self.sampling, frames_seed)
        else:
            indices = uniform_clip_indices(clip["count"], self.sampling, 1)[0]
        frames = decode_frames(clip["encoded"], indices)
        return train_view(frames, label, size=self.sampling.size, augment=self.augment, mirrored=mirrored, seed=pixels_seed)


def training_epoch(
    files: Sequence[Path],
    clips: int,
    recipe: ViewRecipe,
    *,
    batch_size: int,
    epoch: int,
    first: int = 0,
    shard: BatchShard | None = None,
    weights: Sequence[float] | None = None,
) -> tf.data.Dataset:
    """One epoch of augmented views, in an order that differs between epochs.

    Elements: batches ({"image": float32 (B, count, size, size, 3)}, one-hot float32 (B, classes)). The last one may be smaller.

    Args:
      clips: number of clips in `files`.
      epoch: counted from 0.
      first: number of examples to skip; a multiple of `batch_size`.
      shard: return only this shard of each batch, as `BatchShard.batches` does.
      weights: how often a clip is drawn on average, by class; the mean over the clips is 1. None: each clip once.
    """
    num_classes = len(recipe.mirrored)

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, which takes seconds
    def view(index: tf.Tensor, serialized: tf.Tensor):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch * EPOCH_STRIDE + index])
        pixels, label = recipe.augmented(parse_clip_header(serialized), seed)
        return {"image": pixels}, tf.one_hot(label, num_classes)

    clip_bytes = max(1, sum(path.stat().st_size for path in files) // clips)
    buffer = min(clips, max(batch_size, SHUFFLE_BYTES // clip_bytes))
    drawn = read_clips(files)
    if weights is not None:
        drawn = _balanced(drawn, weights, draw_offset(recipe.seed, epoch))
    shuffled = drawn.shuffle(buffer, seed=recipe.seed * EPOCH_STRIDE + epoch, reshuffle_each_iteration=False)
    numbered = shuffled.enumerate().skip(first)
    if shard is not None:
        return shard.batches(numbered, clips, batch_size, view).prefetch(tf.data.AUTOTUNE)
    examples = numbered.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _balanced(clips: tf.data.Dataset, weights: Sequence[float], offset: float) -> tf.data.Dataset:
    """Serialized clips, each as often as `balanced_copies` says."""
    by_class = tf.constant(weights, tf.float64)

    def copies(end: tf.Tensor, serialized: tf.Tensor):
        new = end + tf.gather(by_class, parse_clip_header(serialized)["label"])
        return new, (serialized, tf.cast(tf.floor(new + offset) - tf.floor(end + offset), tf.int64))

    counted = clips.scan(tf.constant(0.0, tf.float64), copies)
    return counted.flat_map(lambda serialized, count: tf.data.Dataset.from_tensors(serialized).repeat(count))


def validation_views(
    files: Sequence[Path], clips: int, recipe: ViewRecipe, *, batch_size: int, shard: BatchShard | None = None
) -> tf.data.Dataset:
    """The centred view of every clip, in batches or shards like those of `training_epoch`."""

    @tf.autograph.experimental.do_not_convert
    def view(serialized: tf.Tensor):
        clip = parse_clip_header(serialized)
        return {"image": recipe.centred(clip, 1)[0]}, tf.one_hot(clip["label"], len(recipe.classes))

    if shard is not None:
        numbered = read_clips(files).enumerate()
        batches = shard.batches(numbered, clips, batch_size, lambda index, serialized: view(serialized))
        return batches.prefetch(tf.data.AUTOTUNE)
    examples = read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def test_clips(files: Sequence[Path], views: int, sampling: Sampling) -> tf.data.Dataset:
    """The evenly spaced views of every clip, an element per clip in the files' order.

    Elements: `views` float32 (views, count, size, size, 3), `label` int64, `clip` and `group` string.
    """

    @tf.autograph.experimental.do_not_convert
    def view(serialized: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        return {"views": centred_views(clip, views, sampling)} | {key: clip[key] for key in ("label", "clip", "group")}

    return read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
