"""Clips as TFRecords: SequenceExamples in the Model Garden's schema, which its own video reader can read. No TensorFlow here.

Invariants:

- A record is a whole clip: JPEG frames with timestamps, and label, class, id and group in the context.
- The clips of a split are ordered by the SHA-256 of their ids, which shuffles the classes deterministically; shard i of n has
  every n-th clip starting at the i-th. `clip_positions`, and `parsing.read_clips`, restore that order.
- Equal clips give byte-identical files.

A record in a file is an 8-byte little-endian length, its 4-byte checksum, the data and their 4-byte checksum
(tensorflow/core/lib/io/record_writer.h). Messages: tensorflow/core/example/example.proto and feature.proto.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.checksums import masked_crc32c
from pipeline.console import UserError
from pipeline.files import atomic_file
from pipeline.protobuf import encode_field, encode_varint, fields, varint

IMAGE_KEY = "image/encoded"
TIMESTAMP_KEY = "image/timestamp"
LABEL_KEY = "clip/label/index"
TEXT_KEY = "clip/label/text"
CLIP_KEY = "clip/id"
GROUP_KEY = "clip/group"
COUNT_KEY = "clip/frames"

_CONTEXT, _LISTS = 1, 2  # fields of a SequenceExample
_BYTES, _INTS = 1, 3  # fields of a Feature
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")


class RecordPosition(NamedTuple):
    """`length` bytes at `offset` of `file`: one serialized clip."""

    file: Path
    offset: int
    length: int


class StoredClip(NamedTuple):
    """What a record holds. label: index of the class. jpegs, timestamps: of each frame, in microseconds from the clip's start."""

    clip: str
    label: int
    group: str
    jpegs: list[bytes]
    timestamps: list[int]


def shard_order(clips: Iterable[str]) -> list[str]:
    """Clip ids in the order of the SHA-256 of their UTF-8 text."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())


def shard_names(split: str, clips: int, shards: int) -> list[str]:
    """The files of a split of `clips` clips: at most `shards`, without empty ones."""
    count = min(clips, shards)
    return [f"{split}-{index:05d}-of-{count:05d}.tfrecord" for index in range(count)]


def _ints(value: int) -> list[bytes]:
    return encode_field(_INTS, encode_field(1, [encode_varint(value)]))


def _bytes(value: bytes) -> list[bytes]:
    return encode_field(_BYTES, encode_field(1, [value]))


def _map(values: dict[str, list[bytes]]) -> list[bytes]:
    """The parts of a message whose field 1 is a map, in the order of the keys."""
    entries = (encode_field(1, [key.encode()]) + encode_field(2, value) for key, value in sorted(values.items()))
    return [part for entry in entries for part in encode_field(1, entry)]


def _list(features: Iterable[list[bytes]]) -> list[bytes]:
    return [part for feature in features for part in encode_field(1, feature)]


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
    context = {
        LABEL_KEY: _ints(label),
        TEXT_KEY: _bytes(text.encode()),
        CLIP_KEY: _bytes(clip.encode()),
        GROUP_KEY: _bytes(group.encode()),
        COUNT_KEY: _ints(len(jpegs)),
    }
    lists = {IMAGE_KEY: _list(map(_bytes, jpegs)), TIMESTAMP_KEY: _list(map(_ints, timestamps))}
    return b"".join(encode_field(_CONTEXT, _map(context)) + encode_field(_LISTS, _map(lists)))


def parse_record(serialized: bytes) -> StoredClip:
    """Reads what `serialize_clip` wrote; the frames stay encoded."""
    context, lists = (_values(part) for _, part in sorted(fields(serialized)))
    return StoredClip(
        _value(context[CLIP_KEY]).decode(),
        varint(_value(context[LABEL_KEY]), 0)[0],
        _value(context[GROUP_KEY]).decode(),
        [_value(feature) for _, feature in fields(lists[IMAGE_KEY])],
        [varint(_value(feature), 0)[0] for _, feature in fields(lists[TIMESTAMP_KEY])],
    )


def _values(message: bytes) -> dict[str, bytes]:
    """The encoded values of a map by key, of a message that consists of it."""
    entries = [dict(fields(entry)) for _, entry in fields(message)]
    return {entry[1].decode(): entry[2] for entry in entries}


def _value(feature: bytes) -> bytes:
    """The bytes of a `Feature` that has a single value; if that is an integer, they are its encoding as a varint."""
    ((_, values),) = fields(feature)
    ((_, value),) = fields(values)
    return value


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Writes serialized clips as one TFRecord file, atomically, with one record at a time in memory."""
    with atomic_file(path) as part, part.open("wb") as file:
        for record in records:
            length = _LENGTH.pack(len(record))
            file.write(length + _CHECKSUM.pack(masked_crc32c(length)))
            file.write(record)
            file.write(_CHECKSUM.pack(masked_crc32c(record)))


def _positions_in(file: Path) -> list[RecordPosition]:
    positions = []
    with open(file, "rb") as stream:
        end = stream.seek(0, 2)
        position = 0
        while position < end:
            stream.seek(position)
            header = stream.read(_LENGTH.size)
            length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else end
            record = RecordPosition(file, position + _LENGTH.size + _CHECKSUM.size, length)
            position = record.offset + length + _CHECKSUM.size
            if position > end:
                raise UserError(f"{file}: cut off in its middle", advice="run `dvc repro --force extract`")
            positions.append(record)
    return positions


def clip_positions(files: Sequence[Path]) -> list[RecordPosition]:
    """The positions of a split's clips in the order of `shard_order`: the first clip of each file, the second of each, and so on.

    Only the lengths are read, 8 bytes a clip.

    Raises:
      UserError: a file is truncated.
    """
    rounds = itertools.zip_longest(*(_positions_in(Path(file)) for file in files))
    return [position for positions in rounds for position in positions if position is not None]


def read_record(position: RecordPosition) -> bytes:
    """Reads a serialized clip. Raises UserError if it is damaged."""
    with open(position.file, "rb") as stream:
        stream.seek(position.offset)
        record, checksum = stream.read(position.length), stream.read(_CHECKSUM.size)
    if checksum != _CHECKSUM.pack(masked_crc32c(record)):
        raise UserError(f"{position.file}: damaged (a checksum does not match)", advice="run `dvc repro --force extract`")
    return record
