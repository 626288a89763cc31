"""What the backbone and the training loop are fed. Every order and every augmentation follows from a seed and a position.

So an epoch can be entered in the middle, and the second half is the same as if the first had just run.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.console import UserError
from pipeline.params import Params
from pipeline.training.batch_shards import BatchShard
from pipeline.video.records import decode_frames, parse_clip_header, read_clips
from pipeline.video.views import centre_square, mirrored_labels, random_clip_indices, train_view, uniform_clip_indices

SHUFFLE_BYTES = 512 << 20  # of encoded clips held for shuffling; the files already mix the classes
EPOCH_STRIDE = 1 << 24  # more than the examples of any epoch, so that no two draws share a seed


def _mirrored(params: Params, classes: Sequence[str]) -> list[int]:
    try:
        return mirrored_labels(list(classes), params.data.flip)
    except ValueError as error:
        raise UserError(str(error)) from None


def _centred_views(clip: dict, views: int, params: Params) -> tf.Tensor:
    """The views of testing: float32 (views, count, size, size, 3)."""
    count, size = params.frames.count, params.frames.size
    indices = tf.reshape(uniform_clip_indices(clip["count"], count, views), [-1])
    frames = centre_square(decode_frames(clip["encoded"], indices), size)
    return tf.reshape(frames, [views, count, size, size, 3])


def _augmented_view(clip: dict, seed: tf.Tensor, params: Params, mirrored: list[int]):
    """One view of training; `seed` int64 (2,)."""
    where, how = tf.unstack(tf.random.split(seed, 2))
    if params.augment.jitter:
        indices = random_clip_indices(clip["count"], params.frames.count, where)
    else:
        indices = uniform_clip_indices(clip["count"], params.frames.count, 1)[0]
    frames = decode_frames(clip["encoded"], indices)
    return train_view(frames, clip["label"], size=params.frames.size, augment=params.augment, mirrored=mirrored, seed=how)


def embedding_views(
    files: Sequence[Path], split: str, views: int, params: Params, classes: Sequence[str], *, first: int = 0
) -> tf.data.Dataset:
    """The views of every clip of a split that `embed` caches, in the files' order, from clip `first` on."""
    return views_to_embed(read_clips(files).enumerate().skip(first), split, views, params, classes)


def views_to_embed(numbered: tf.data.Dataset, split: str, views: int, params: Params, classes: Sequence[str]) -> tf.data.Dataset:
    """The same of any clips of a split, given as (place in the files' order, serialized clip): they follow from the place.

    Elements: `views` float32 (views, count, size, size, 3), `label` int32 (views,), `clip` and `group` string. Of a training clip
    the first view is the middle one of testing and the others are augmented; else all are those of testing.
    """
    mirrored = _mirrored(params, classes)

    def view(position: tf.Tensor, serialized: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        label = tf.cast(clip["label"], tf.int32)
        if split == "train":
            parts = [(_centred_views(clip, 1, params)[0], label)]
            for number in range(1, views):
                seed = tf.stack([tf.constant(params.seed, tf.int64), position * views + number])
                parts.append(_augmented_view(clip, seed, params, mirrored))
            pixels, labels = tf.stack([part[0] for part in parts]), tf.stack([part[1] for part in parts])
        else:
            pixels, labels = _centred_views(clip, views, params), tf.fill([views], label)
        return {"views": pixels, "label": labels, "clip": clip["clip"], "group": clip["group"]}

    return numbered.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def training_epoch(
    files: Sequence[Path],
    clips: int,
    params: Params,
    classes: Sequence[str],
    *,
    epoch: int,
    first: int = 0,
    share: BatchShard | None = None,
) -> tf.data.Dataset:
    """One epoch of augmented views in an order of its own, from example `first` on.

    Elements, batched: ({"image": float32 (B, count, size, size, 3)}, one-hot float32 (B, classes)). The last batch may
    be smaller. Of a `share`: its rows of these batches, as `BatchShard.batches` gives them.
    """
    mirrored = _mirrored(params, classes)

    def view(position: tf.Tensor, serialized: tf.Tensor):
        seed = tf.stack([tf.constant(params.seed, tf.int64), epoch * EPOCH_STRIDE + position])
        pixels, label = _augmented_view(parse_clip_header(serialized), seed, params, mirrored)
        return {"image": pixels}, tf.one_hot(label, len(classes))

    clip_bytes = max(1, sum(path.stat().st_size for path in files) // clips)
    held = min(clips, max(params.finetune.batch_size, SHUFFLE_BYTES // clip_bytes))
    shuffled = read_clips(files).shuffle(held, seed=params.seed * EPOCH_STRIDE + epoch, reshuffle_each_iteration=False)
    numbered = shuffled.enumerate().skip(first)
    if share is not None:
        return share.batches(numbered, clips, params.finetune.batch_size, view).prefetch(tf.data.AUTOTUNE)
    examples = numbered.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(params.finetune.batch_size).prefetch(tf.data.AUTOTUNE)


def validation_views(
    files: Sequence[Path], clips: int, params: Params, classes: Sequence[str], *, share: BatchShard | None = None
) -> tf.data.Dataset:
    """The middle view of every clip, batched and shared as `training_epoch` does."""

    def view(serialized: tf.Tensor):
        clip = parse_clip_header(serialized)
        return {"image": _centred_views(clip, 1, params)[0]}, tf.one_hot(clip["label"], len(classes))

    if share is not None:
        numbered = read_clips(files).enumerate()
        shared = share.batches(numbered, clips, params.finetune.batch_size, lambda position, serialized: view(serialized))
        return shared.prefetch(tf.data.AUTOTUNE)
    examples = read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(params.finetune.batch_size).prefetch(tf.data.AUTOTUNE)


def test_clips(files: Sequence[Path], views: int, params: Params) -> tf.data.Dataset:
    """The evenly spaced views of every clip, in the files' order.

    Elements: `views` float32 (views, count, size, size, 3), `label` int64, `clip` and `group` string.
    """

    def view(serialized: tf.Tensor) -> dict:
        clip = parse_clip_header(serialized)
        return {"views": _centred_views(clip, views, params)} | {key: clip[key] for key in ("label", "clip", "group")}

    return read_clips(files).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def feature_epoch(
    features: tf.Tensor, labels: tf.Tensor, num_classes: int, *, batch_size: int, seed: int, epoch: int, first: int = 0
) -> tf.data.Dataset:
    """One epoch over cached views in an order of its own, from example `first` on.

    Elements, batched: (float32 (B, P), one-hot float32 (B, classes)).

    Args:
      features: float32 (N, P); labels: int32 (N,). Tensors, because TensorFlow would copy an array into every epoch's graph.
    """
    order = np.random.default_rng([seed, epoch]).permutation(int(features.shape[0]))[first:]
    return (
        tf.data.Dataset.from_tensor_slices(order)
        .batch(batch_size)
        .map(lambda rows: (tf.gather(features, rows), tf.one_hot(tf.gather(labels, rows), num_classes)))
    )
