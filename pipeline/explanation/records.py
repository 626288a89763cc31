"""Single clips out of the records, by name, without TensorFlow."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.console import UserError
from pipeline.embedding.record_positions import RecordPosition, clip_positions, read_record
from pipeline.protobuf import fields, varint

# Those of pipeline.video.records, which imports TensorFlow; moved out of it, every clip would be extracted again.
CLIP_KEY, IMAGE_KEY, TIMESTAMP_KEY = "clip/id", "image/encoded", "image/timestamp"


class Record(NamedTuple):
    """A clip. serialized: as in the file. jpegs: of its frames. seconds: of each frame, from the clip's start."""

    serialized: bytes
    jpegs: list[bytes]
    seconds: list[float]


def _shard_order(clips: Iterable[str]) -> list[str]:
    """See `pipeline.video.records.shard_order`."""
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).hexdigest())


class Records:
    """The clips of a split. files: its TFRecord files. clips: the names of all its clips, in any order."""

    def __init__(self, files: Sequence[Path], clips: Iterable[str]):
        self._positions: dict[str, RecordPosition] = {}
        names, positions = _shard_order(clips), clip_positions(files)
        if len(names) != len(positions):
            message = f"{Path(files[0]).parent}: has {len(positions)} clips of a split with {len(names)}"
            raise UserError(message, advice="run `dvc repro`")
        self._positions = dict(zip(names, positions, strict=True))

    def read(self, clip: str) -> Record:
        """Reads a clip without decoding its frames. Raises UserError if the files hold other clips than were named."""
        position = self._positions[clip]
        serialized = read_record(position)
        context, lists = (_map(part) for _, part in sorted(fields(serialized)))  # of a SequenceExample
        found = _bytes(context[CLIP_KEY]).decode()
        if found != clip:
            raise UserError(f"{position.file}: has {found} in the place of {clip}", advice="run `dvc repro`")
        jpegs = [_bytes(feature) for _, feature in fields(lists[IMAGE_KEY])]
        seconds = [varint(_bytes(feature), 0)[0] / 1e6 for _, feature in fields(lists[TIMESTAMP_KEY])]
        return Record(serialized, jpegs, seconds)


def _map(message: bytes) -> dict[str, bytes]:
    """The encoded values of a map by key, of a message that consists of it (tensorflow/core/example/feature.proto)."""
    entries = [dict(fields(entry)) for _, entry in fields(message)]
    return {entry[1].decode(): entry[2] for entry in entries}


def _bytes(feature: bytes) -> bytes:
    """The bytes of a `Feature` that has a single value; if that is an integer, they are its encoding as a varint."""
    ((_, values),) = fields(feature)
    return next((value for _, value in fields(values)), b"")
