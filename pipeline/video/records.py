"""Clips as TFRecords: SequenceExamples in the Model Garden's schema, which its own video reader can read.

Invariants:

- A record is a whole clip: JPEG frames with timestamps, and label, class, id and group in the context.
- The clips of a split are ordered by the SHA-256 of their ids, which shuffles the classes deterministically; shard i of n has
  every n-th clip starting at the i-th. `read_clips` restores that order.
- Equal clips give byte-identical files.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipeline.console import UserError
from pipeline.files import atomic_file

IMAGE_KEY = "image/encoded"
TIMESTAMP_KEY = "image/timestamp"
LABEL_KEY = "clip/label/index"
TEXT_KEY = "clip/label/text"
CLIP_KEY = "clip/id"
GROUP_KEY = "clip/group"
COUNT_KEY = "clip/frames"


def shard_order(clips: Iterable[str]) -> list[str]:
    """Clip ids in the order of the SHA-256 of their UTF-8 text."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())


def shard_names(split: str, clips: int, shards: int) -> list[str]:
    """The files of a split of `clips` clips: at most `shards`, without empty ones."""
    count = min(clips, shards)
    return [f"{split}-{index:05d}-of-{count:05d}.tfrecord" for index in range(count)]


def _ints(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def serialize_clip(clip: str, label: int, text: str, group: str, jpegs: Sequence[bytes], timestamps: Sequence[int]) -> bytes:
    """A clip as a serialized tf.train.SequenceExample.

    Args:
      label: index of the class.
      text: name of the class.
      jpegs: one JPEG per frame.
      timestamps: microseconds from the clip's start.
    """
    if not jpegs or len(jpegs) != len(timestamps):
        raise ValueError(f"{clip}: needs at least one frame, and a timestamp for each, got {len(jpegs)} and {len(timestamps)}")
    example = tf.train.SequenceExample(
        context=tf.train.Features(
            feature={
                LABEL_KEY: _ints(label),
                TEXT_KEY: _bytes(text.encode()),
                CLIP_KEY: _bytes(clip.encode()),
                GROUP_KEY: _bytes(group.encode()),
                COUNT_KEY: _ints(len(jpegs)),
            }
        ),
        feature_lists=tf.train.FeatureLists(
            feature_list={
                IMAGE_KEY: tf.train.FeatureList(feature=[_bytes(jpeg) for jpeg in jpegs]),
                TIMESTAMP_KEY: tf.train.FeatureList(feature=[_ints(time) for time in timestamps]),
            }
        ),
    )
    return example.SerializeToString(deterministic=True)


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Writes serialized clips as one TFRecord file, atomically, with one record at a time in memory."""
    with atomic_file(path) as part:
        try:
            with tf.io.TFRecordWriter(str(part)) as writer:
                for record in records:
                    writer.write(record)
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's own file layer raises no OSError
            advice = "free some space and run again; finished work is kept"
            raise UserError(f"{path}: the disk is full", advice=advice) from error


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


class ClipHeader(NamedTuple):
    """What a record says of its clip. digest: SHA-256 of its frames, as they are encoded."""

    clip: str
    group: str
    label: int
    frames: int
    digest: str


def read_header(serialized: bytes) -> ClipHeader:
    """Reads a serialized clip without TensorFlow's graph and without decoding its frames."""
    example = tf.train.SequenceExample.FromString(serialized)
    context = example.context.feature
    jpegs = [feature.bytes_list.value[0] for feature in example.feature_lists.feature_list[IMAGE_KEY].feature]
    digest = hashlib.sha256(b"".join(hashlib.sha256(jpeg).digest() for jpeg in jpegs)).hexdigest()
    clip, group = (context[key].bytes_list.value[0].decode() for key in (CLIP_KEY, GROUP_KEY))
    return ClipHeader(clip, group, context[LABEL_KEY].int64_list.value[0], len(jpegs), digest)


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
