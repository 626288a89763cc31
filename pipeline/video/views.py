"""The views of a clip: which frames a model sees and how they are cropped, in training and evaluation.

Embed, finetune, evaluate and the exported model use the same functions, so all of them see the same pixels. They are written in
TensorFlow, so that they run inside tf.data and in a SavedModel. A view is `count` consecutive frames at the model's frame rate,
cropped to a square of `size` pixels, float32 in [0, 1]; see `sampling`.
"""

from typing import NamedTuple

import tensorflow as tf

from pipeline.settings import Augment
from pipeline.video.sampling import Sampling


class TrainView(NamedTuple):
    """One augmented view: `frames` float32 (count, size, size, 3) in [0, 1], and `label`, an int32 scalar."""

    frames: tf.Tensor
    label: tf.Tensor


def uniform_clip_indices(total: tf.Tensor, sampling: Sampling, views: int) -> tf.Tensor:
    """Frame indices of `views` evenly spaced views: int32 (views, count).

    View k starts at the middle of the k-th of `views` equal parts of the possible starts; one view is the clip's middle. With
    `sampling.where = first` all views consist of the clip's first frames.

    Args:
      total: int scalar, the clip's number of frames (at least 1).
    """
    total = tf.cast(total, tf.int32)
    spare = tf.maximum(total - sampling.count, 0) if sampling.where == "uniform" else tf.zeros_like(total)
    starts = (2 * tf.range(views) + 1) * spare // (2 * views)
    return _valid_indices(starts[:, None] + tf.range(sampling.count)[None, :], total, sampling)


def random_clip_indices(total: tf.Tensor, sampling: Sampling, seed: tf.Tensor) -> tf.Tensor:
    """Frame indices of one view that starts anywhere in the clip: int32 (count,).

    Args:
      total: int scalar, the clip's number of frames (at least 1).
      seed: int (2,), as for `tf.random.stateless_uniform`.
    """
    total = tf.cast(total, tf.int32)
    starts = tf.maximum(total - sampling.count, 0) + 1
    start = tf.random.stateless_uniform([], seed, minval=0, maxval=starts, dtype=tf.int32)
    return _valid_indices(start + tf.range(sampling.count), total, sampling)


def _valid_indices(positions: tf.Tensor, total: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """Maps positions beyond the last frame of a short clip to frames: the last one if it is padded, else from the start again."""
    return tf.minimum(positions, total - 1) if sampling.pads else positions % total


def frame_mask(total: tf.Tensor, count: int) -> tf.Tensor:
    """Which frames of a padded view are real: bool (count,); the same for all views of a clip, as only short clips are padded."""
    return tf.range(count) < tf.cast(total, tf.int32)


def _resize(squares: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes squares, bilinear: uint8 (N, S, S, 3) -> float32 (N, size, size, 3) in [0, 1]; the identity at that size."""
    side, frames = tf.shape(squares)[1], tf.cast(squares, tf.float32) / 255.0
    resized = tf.case(
        [
            (tf.equal(side, size), lambda: frames),
            # Antialiasing has no effect on frames that become larger, but takes seven times as long.
            (side < size, lambda: tf.image.resize(frames, [size, size])),
        ],
        default=lambda: tf.image.resize(frames, [size, size], antialias=True),
    )
    return tf.ensure_shape(resized, [None, size, size, 3])


def _cut_square(frames: tf.Tensor, side: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    return frames[:, top : top + side, left : left + side]


def _centre(frames: tf.Tensor) -> tf.Tensor:
    """The largest centred square of each frame: (N, H, W, 3) -> (N, S, S, 3)."""
    shape = tf.shape(frames)
    side = tf.minimum(shape[1], shape[2])
    return _cut_square(frames, side, (shape[1] - side) // 2, (shape[2] - side) // 2)


def centre_square(frames: tf.Tensor, size: int) -> tf.Tensor:
    """The largest centred square of each frame: uint8 (N, H, W, 3) -> float32 (N, size, size, 3) in [0, 1]."""
    return _resize(_centre(frames), size)


def _random_square(frames: tf.Tensor, smallest_area: float, seed: tf.Tensor) -> tf.Tensor:
    """A random square of random area, the same in every frame: (N, H, W, 3) -> (N, S, S, 3)."""
    area, down, right = tf.unstack(tf.random.stateless_uniform([3], seed))
    shape = tf.shape(frames)
    shortest = tf.cast(tf.minimum(shape[1], shape[2]), tf.float32)
    side = tf.cast(tf.round(shortest * tf.sqrt(smallest_area + (1.0 - smallest_area) * area)), tf.int32)
    top = tf.cast(down * tf.cast(shape[1] - side + 1, tf.float32), tf.int32)
    left = tf.cast(right * tf.cast(shape[2] - side + 1, tf.float32), tf.int32)
    return _cut_square(frames, side, top, left)


def _random_colour(frames: tf.Tensor, augment: Augment, seed: tf.Tensor) -> tf.Tensor:
    """Shifts brightness, then contrast, then saturation, the same in every frame; clipped to [0, 1].

    The three are one product with a 3 x 3 matrix and one sum for each pixel, which takes a seventh of the time.
    """
    draws = tf.unstack(tf.random.stateless_uniform([3], seed, minval=-1.0, maxval=1.0))
    amounts = (augment.brightness, augment.contrast, augment.saturation)
    if not any(amounts):
        return tf.clip_by_value(frames, 0.0, 1.0)
    shift, contrast, saturation = (amount * draw for amount, draw in zip(amounts, draws, strict=True))
    pixels = tf.reshape(frames, [-1, 3])
    mean = tf.reduce_mean(pixels, axis=0, keepdims=True)  # contrast does not change it
    luma = tf.constant([[0.299], [0.587], [0.114]])  # ITU-R BT.601; saturation does not change it
    saturate = (1.0 + saturation) * tf.eye(3) - saturation * luma
    shifted = tf.matmul(shift - contrast * mean, saturate)
    pixels = tf.nn.bias_add(tf.matmul(pixels, (1.0 + contrast) * saturate), shifted[0])
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 1.0), tf.shape(frames))


def mirrored_labels(classes: list[str], flip: bool | dict[str, str]) -> list[int]:
    """The label of each class after mirroring; -1 if its clips may not be mirrored.

    Raises:
      ValueError: `flip` names a class that is not among `classes`.
    """
    if flip is False:
        return [-1] * len(classes)
    mapping = {} if flip is True else flip
    for name in sorted({*mapping.keys(), *mapping.values()}):
        if name not in classes:
            raise ValueError(f"data.flip names the class {name!r}, which is not one of {', '.join(classes)}")
    return [classes.index(mapping.get(name, name)) for name in classes]


def train_view(
    frames: tf.Tensor, label: tf.Tensor, *, size: int, augment: Augment, mirrored: list[int], seed: tf.Tensor
) -> TrainView:
    """Augments the frames of one view: a random square, mirrored or not, with shifted colours.

    Args:
      frames: uint8 (count, H, W, 3).
      label: int scalar.
      mirrored: the label of each class after mirroring (`mirrored_labels`).
      seed: int (2,); equal seeds give equal views.
    """
    crop_seed, flip_seed, colour_seed = tf.unstack(tf.random.split(tf.cast(seed, tf.int64), 3))
    label = tf.cast(label, tf.int32)
    frames = _random_square(frames, augment.crop, crop_seed) if augment.crop < 1 else _centre(frames)
    if augment.flip:
        becomes = tf.gather(tf.constant(mirrored, tf.int32), label)
        flip = tf.logical_and(becomes >= 0, tf.random.stateless_uniform([], flip_seed) < 0.5)
        frames = tf.where(flip, tf.reverse(frames, axis=[2]), frames)
        label = tf.where(flip, becomes, label)
    return TrainView(_random_colour(_resize(frames, size), augment, colour_seed), label)


def test_views(frames: tf.Tensor, sampling: Sampling, views: int) -> tf.Tensor:
    """The evenly spaced, centred views of clips: uint8 (B, T, H, W, 3) -> float32 (B, views, count, size, size, 3) in [0, 1].

    All clips have the same length and need no padding: if the model pads short clips, views are at most as long as the clips.
    """
    shape, size = tf.shape(frames), sampling.size
    indices = uniform_clip_indices(shape[1], sampling, views)
    if sampling.pads:
        indices = indices[:, : shape[1]]  # the rest is padding
    chosen = tf.reshape(tf.gather(frames, tf.reshape(indices, [-1]), axis=1), [-1, shape[2], shape[3], 3])
    count = tf.shape(indices)[1] if sampling.pads else sampling.count
    return tf.reshape(centre_square(chosen, size), [-1, views, count, size, size, 3])
