"""What the backbone and the training loop are fed. Every order and every augmentation follows from a seed and a position.

So an epoch can be entered in the middle, and the second half is the same as if the first had just run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.console import UserError
from pipeline.settings import Augment
from pipeline.training.batch_shards import BatchShard
from pipeline.video.dataset import centred_views
from pipeline.video.records import decode_frames, parse_clip_header, read_clips
from pipeline.video.sampling import Sampling
from pipeline.video.views import (
    frame_mask,
    mirrored_labels,
    random_clip_indices,
    train_view,
    uniform_clip_indices,
)

Features = tf.Tensor | dict[str, tf.Tensor]  # of views: what a top is given

SHUFFLE_BYTES = 512 << 20  # of encoded clips held for shuffling; the files already mix the classes
EPOCH_STRIDE = 1 << 24  # more than the examples of any epoch, so that no two draws share a seed


@dataclass(frozen=True)
class ViewRecipe:
    """How views are made of clips, in training and in testing."""

    sampling: Sampling
    augment: Augment
    flip: bool | dict[str, str]  # data.flip
    classes: list[str]
    seed: int

    @cached_property
    def mirrored(self) -> list[int]:
        """What each class becomes when its clips are mirrored (`mirrored_labels`)."""
        try:
            return mirrored_labels(self.classes, self.flip)
        except ValueError as error:
            raise UserError(str(error)) from None

    def centred(self, clip: dict, views: int) -> tf.Tensor:
        """The views of testing: float32 (views, count, size, size, 3)."""
        return centred_views(clip, views, self.sampling)

    def augmented(self, clip: dict, seed: tf.Tensor):
        """One view of training; `seed` int64 (2,)."""
        where, how = tf.unstack(tf.random.split(seed, 2))
        if self.augment.jitter:
            indices = random_clip_indices(clip["count"], self.sampling, where)
        else:
            indices = uniform_clip_indices(clip["count"], self.sampling, 1)[0]
        frames = decode_frames(clip["encoded"], indices)
        return train_view(frames, clip["label"], size=self.sampling.size, augment=self.augment, mirrored=self.mirrored, seed=how)


def embedding_views(files: Sequence[Path], split: str, views: int, recipe: ViewRecipe, *, first: int = 0) -> tf.data.Dataset:
    """The views of every clip of a split that `embed` caches, in the files' order, from clip `first` on."""
    return views_to_embed(read_clips(files).enumerate().skip(first), split, views, recipe)


def views_to_embed(numbered: tf.data.Dataset, split: str, views: int, recipe: ViewRecipe) -> tf.data.Dataset:
    """The same of any clips of a split, given as (index in the files' order, serialized clip): they follow from the index.

    Elements: `views` float32 (views, count, size, size, 3), `mask` bool (views, count), `label` int32 (views,), `clip` and
    `group` string. Of a training clip the first view is the middle one of testing and the others are augmented; else all are
    those of testing.
    """
    _ = recipe.mirrored  # a wrong data.flip is refused here, not inside tf.data

    def view(index: tf.Tensor, serialized: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        label = tf.cast(clip["label"], tf.int32)
        if split == "train":
            parts = [(recipe.centred(clip, 1)[0], label)]
            for number in range(1, views):
                seed = tf.stack([tf.constant(recipe.seed, tf.int64), index * views + number])
                parts.append(recipe.augmented(clip, seed))
            pixels, labels = tf.stack([part[0] for part in parts]), tf.stack([part[1] for part in parts])
        else:
            pixels, labels = recipe.centred(clip, views), tf.fill([views], label)
        mask = tf.tile(frame_mask(clip["count"], recipe.sampling.count)[tf.newaxis], [views, 1])
        return {"views": pixels, "mask": mask, "label": labels, "clip": clip["clip"], "group": clip["group"]}

    return numbered.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_epoch(
    files: Sequence[Path],
    clips: int,
    recipe: ViewRecipe,
    *,
    batch_size: int,
    epoch: int,
    first: int = 0,
    share: BatchShard | None = None,
) -> tf.data.Dataset:
    """One epoch of augmented views in an order of its own, from example `first` on.

    Elements, batched: ({"image": float32 (B, count, size, size, 3)}, one-hot float32 (B, classes)). The last batch may
    be smaller. Of a `share`: its rows of these batches, as `BatchShard.batches` gives them.
    """
    num_classes = len(recipe.mirrored)

    def view(index: tf.Tensor, serialized: tf.Tensor):
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch * EPOCH_STRIDE + index])
        pixels, label = recipe.augmented(parse_clip_header(serialized), seed)
        return {"image": pixels}, tf.one_hot(label, num_classes)

    clip_bytes = max(1, sum(path.stat().st_size for path in files) // clips)
    held = min(clips, max(batch_size, SHUFFLE_BYTES // clip_bytes))
    shuffled = read_clips(files).shuffle(held, seed=recipe.seed * EPOCH_STRIDE + epoch, reshuffle_each_iteration=False)
    numbered = shuffled.enumerate().skip(first)
    if share is not None:
        return share.batches(numbered, clips, batch_size, view).prefetch(tf.data.AUTOTUNE)
    examples = numbered.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def validation_views(
    files: Sequence[Path], clips: int, recipe: ViewRecipe, *, batch_size: int, share: BatchShard | None = None
) -> tf.data.Dataset:
    """The middle view of every clip, batched and shared as `training_epoch` does."""

    def view(serialized: tf.Tensor):
        clip = parse_clip_header(serialized)
        return {"image": recipe.centred(clip, 1)[0]}, tf.one_hot(clip["label"], len(recipe.classes))

    if share is not None:
        numbered = read_clips(files).enumerate()
        shared = share.batches(numbered, clips, batch_size, lambda position, serialized: view(serialized))
        return shared.prefetch(tf.data.AUTOTUNE)
    examples = read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def test_clips(files: Sequence[Path], views: int, sampling: Sampling) -> tf.data.Dataset:
    """The evenly spaced views of every clip, in the files' order.

    Elements: `views` float32 (views, count, size, size, 3), `label` int64, `clip` and `group` string.
    """

    def view(serialized: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        return {"views": centred_views(clip, views, sampling)} | {key: clip[key] for key in ("label", "clip", "group")}

    return read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def feature_epoch(
    features: Features, labels: tf.Tensor, num_classes: int, *, batch_size: int, seed: int, epoch: int, first: int = 0
) -> tf.data.Dataset:
    """One epoch over cached views in an order of its own, from example `first` on.

    Elements, batched: (features (B, ...), one-hot float32 (B, classes)).

    Args:
      features: float32 (N, ...), or a dictionary of such arrays; labels: int32 (N,). Tensors, because TensorFlow would copy an
        array into every epoch's graph.
    """
    order = np.random.default_rng([seed, epoch]).permutation(int(labels.shape[0]))[first:]
    return (
        tf.data.Dataset.from_tensor_slices(order)
        .batch(batch_size)
        .map(lambda rows: (rows_of(features, rows), tf.one_hot(tf.gather(labels, rows), num_classes)))
    )


def rows_of(features: Features, rows) -> Features:
    """Some rows of features, whatever they are made of."""
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), features)
