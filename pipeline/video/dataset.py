"""Extracted clips as a `tf.data.Dataset` for any model, sampled for training or evaluation. See docs/data.md."""

from pathlib import Path
from typing import Literal

import tensorflow as tf

from pipeline.artifacts import FRAMES, FramesSummary, Split
from pipeline.settings import Augment
from pipeline.video.parsing import decode_frames, parse_clip_header, read_clips
from pipeline.video.sampling import Sampling
from pipeline.video.views import centre_square, random_clip_indices, train_view, uniform_clip_indices


def centred_views(clip: dict, views: int, sampling: Sampling) -> tf.Tensor:
    """The evenly spaced, centred views of a clip of `parse_clip_header`: float32 (views, count, size, size, 3) in [0, 1]."""
    indices = tf.reshape(uniform_clip_indices(clip["count"], sampling, views), [-1])
    frames = centre_square(decode_frames(clip["encoded"], indices), sampling.size)
    return tf.reshape(frames, [views, sampling.count, sampling.size, sampling.size, 3])


def clip_dataset(
    split: Split,
    *,
    frames: Path | str = FRAMES,
    count: int,
    size: int | None = None,
    sampling: Literal["middle", "first", "random"] = "middle",
    augment: Augment | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """One view of every clip of a split: (frames float32 (count, size, size, 3) in [0, 1], label int64, id string).

    Frames are RGB, at the rate that `extract` kept, cropped to the largest centred square. A clip with fewer frames than `count`
    is repeated from its first frame.

    Args:
      frames: the folder that `extract` wrote.
      count: frames of a view.
      size: pixels of a side; None: the stored short side.
      sampling: the middle of the clip or its first frames, for evaluation; `random` starts anywhere, differently in each epoch.
      augment: random crops and colours, with `sampling = random`; clips are not mirrored, because that may change the label.
      shuffle: whether to shuffle, differently in each epoch.
      seed: equal seeds give equal orders and views.

    Raises:
      UserError: if there are no records, or none of this split.
    """
    summary = FramesSummary.of(Path(frames))
    view_sampling = Sampling(count, size or summary.size, "first" if sampling == "first" else "uniform")
    clips = read_clips(summary.files(Path(frames), split))
    if shuffle:
        clips = clips.shuffle(summary.splits[split].clips, seed=seed)
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, which takes seconds
    def view(serialized: tf.Tensor, draw: tf.Tensor):
        clip = parse_clip_header(serialized)
        if sampling != "random":
            return centred_views(clip, 1, view_sampling)[0], clip["label"], clip["clip"]
        position_seed, augment_seed = tf.unstack(tf.random.split(tf.stack([tf.constant(seed, tf.int64), draw]), 2))
        chosen = decode_frames(clip["encoded"], random_clip_indices(clip["count"], view_sampling, position_seed))
        if augment is None:
            return centre_square(chosen, view_sampling.size), clip["label"], clip["clip"]
        without_flip = augment.model_copy(update={"flip": False})
        augmented = train_view(
            chosen, clip["label"], size=view_sampling.size, augment=without_flip, mirrored=[], seed=augment_seed
        )
        return augmented.frames, clip["label"], clip["clip"]

    dataset = tf.data.Dataset.zip((clips, draws)).map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.apply(tf.data.experimental.assert_cardinality(summary.splits[split].clips))
