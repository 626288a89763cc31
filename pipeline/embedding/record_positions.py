"""Where each clip of a split lies in its TFRecord files, so that a worker reads the clips it is given and no others.

A TFRecord is an 8-byte little-endian length, its 4-byte checksum, the data and their 4-byte checksum
(tensorflow/core/lib/io/record_writer.h); walking the lengths reads a few bytes a clip.
"""

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.console import UserError

_HEADER = struct.Struct("<QI")
_FOOTER = 4  # bytes


class RecordPosition(NamedTuple):
    """`length` bytes at `offset` of `file`: one serialized clip."""

    file: Path
    offset: int
    length: int


def _positions_in(file: Path) -> list[RecordPosition]:
    positions = []
    with open(file, "rb") as stream:
        end = stream.seek(0, 2)
        position = 0
        while position < end:
            stream.seek(position)
            header = stream.read(_HEADER.size)
            length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else end
            place = RecordPosition(file, position + _HEADER.size, length)
            position = place.offset + length + _FOOTER
            if position > end:
                raise UserError(f"{file}: cut off in its middle; run `dvc repro --force extract`")
            positions.append(place)
    return positions


def clip_positions(files: Sequence[Path]) -> list[RecordPosition]:
    """The positions of a split's clips in the order of `read_clips`: one clip from each file in turn."""
    rounds = itertools.zip_longest(*(_positions_in(Path(file)) for file in files))
    return [place for turn in rounds for place in turn if place is not None]


def read_record(place: RecordPosition) -> bytes:
    """The serialized clip at a place."""
    with open(place.file, "rb") as stream:
        stream.seek(place.offset)
        return stream.read(place.length)
