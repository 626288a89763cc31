"""The positions of a split's clips in its TFRecord files, so that a worker reads only the clips of its chunk.

A TFRecord is an 8-byte little-endian length, its 4-byte checksum, the data and their 4-byte checksum
(tensorflow/core/lib/io/record_writer.h). Finding the positions reads only the lengths, 12 bytes per clip.
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
            record = RecordPosition(file, position + _HEADER.size, length)
            position = record.offset + length + _FOOTER
            if position > end:
                raise UserError(f"{file}: cut off in its middle", advice="run `dvc repro --force extract`")
            positions.append(record)
    return positions


def clip_positions(files: Sequence[Path]) -> list[RecordPosition]:
    """The positions of a split's clips in the order of `read_clips`: the first clip of each file, the second of each, and so on.

    Raises:
      UserError: a file is truncated.
    """
    rounds = itertools.zip_longest(*(_positions_in(Path(file)) for file in files))
    return [position for positions in rounds for position in positions if position is not None]


def read_record(position: RecordPosition) -> bytes:
    """Reads a serialized clip."""
    with open(position.file, "rb") as stream:
        stream.seek(position.offset)
        return stream.read(position.length)
