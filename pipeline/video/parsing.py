"""Clips out of TFRecords as a `tf.data.Dataset`: see `records` for their content."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from pipeline.console import UserError
from pipeline.video.records import CLIP_KEY, COUNT_KEY, GROUP_KEY, IMAGE_KEY, LABEL_KEY, TEXT_KEY, TIMESTAMP_KEY


def read_clips(files: Sequence[Path], *, parallelism: int | None = None, deterministic: bool = True) -> tf.data.Dataset:
    """A dataset of serialized clips (scalar tf.string) from the shards of one split.

    Args:
      parallelism: number of files read concurrently; None: tf.data decides.
      deterministic: whether the order is that of `shard_order`; else clips come as soon as they are read.

    Raises:
      UserError: if a file is missing, or no files are given.
    """
    paths = [Path(file) for file in files]
    missing = [str(path) for path in paths if not path.is_file()]
    if not paths or missing:
        message = f"{missing[0]}: not found" if missing else "no TFRecord files were given: the split has no clips"
        raise UserError(message, advice="run `dvc repro extract`, which makes them")
    return tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).interleave(
        tf.data.TFRecordDataset,
        cycle_length=len(paths),
        block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE if parallelism is None else min(parallelism, len(paths)),
        deterministic=deterministic,
    )


def parse_clip_header(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a clip without decoding its frames.

    Takes a scalar tf.string. Returns `encoded` (T,) string, `timestamps` (T,) int64 in microseconds, and the scalars `label`
    int64, `text`, `clip`, `group` string and `count` int64 (= T).
    """
    context, lists = tf.io.parse_single_sequence_example(
        serialized,
        context_features={
            LABEL_KEY: tf.io.FixedLenFeature((), tf.int64),
            TEXT_KEY: tf.io.FixedLenFeature((), tf.string),
            CLIP_KEY: tf.io.FixedLenFeature((), tf.string),
            GROUP_KEY: tf.io.FixedLenFeature((), tf.string),
            COUNT_KEY: tf.io.FixedLenFeature((), tf.int64),
        },
        sequence_features={
            IMAGE_KEY: tf.io.FixedLenSequenceFeature((), tf.string),
            TIMESTAMP_KEY: tf.io.FixedLenSequenceFeature((), tf.int64),
        },
    )
    return {
        "encoded": lists[IMAGE_KEY],
        "timestamps": lists[TIMESTAMP_KEY],
        "label": context[LABEL_KEY],
        "text": context[TEXT_KEY],
        "clip": context[CLIP_KEY],
        "group": context[GROUP_KEY],
        "count": context[COUNT_KEY],
    }


def decode_frames(encoded: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Decodes only the chosen frames: `encoded` (T,) string, `indices` (n,) integer -> uint8 (n, H, W, 3), RGB.

    Indices may repeat and be in any order; one outside 0..T-1 is an error of tf.gather on a CPU.
    """
    return tf.map_fn(
        lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE"),
        tf.gather(encoded, indices),
        fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )


def parse_clip(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """As parse_clip_header, but with the decoded `frames` uint8 (T, H, W, 3), RGB, instead of `encoded`."""
    clip = parse_clip_header(serialized)
    encoded = clip.pop("encoded")
    return {"frames": decode_frames(encoded, tf.range(tf.size(encoded))), **clip}
