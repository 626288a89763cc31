"""Single clips out of the records, by name, without TensorFlow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.console import UserError
from pipeline.video.records import RecordPosition, clip_positions, parse_record, read_record, shard_order


class Record(NamedTuple):
    """A clip. serialized: as in the file. jpegs: of its frames. seconds: of each frame, from the clip's start."""

    serialized: bytes
    jpegs: list[bytes]
    seconds: list[float]


class Records:
    """The clips of a split. files: its TFRecord files. clips: the names of all its clips, in any order."""

    def __init__(self, files: Sequence[Path], clips: Iterable[str]):
        self._positions: dict[str, RecordPosition] = {}
        names, positions = shard_order(clips), clip_positions(files)
        if len(names) != len(positions):
            message = f"{Path(files[0]).parent}: has {len(positions)} clips of a split with {len(names)}"
            raise UserError(message, advice="run `dvc repro`")
        self._positions = dict(zip(names, positions, strict=True))

    def read(self, clip: str) -> Record:
        """Reads a clip without decoding its frames. Raises UserError if the files hold other clips than were named."""
        position = self._positions[clip]
        serialized = read_record(position)
        stored = parse_record(serialized)
        if stored.clip != clip:
            raise UserError(f"{position.file}: has {stored.clip} in the place of {clip}", advice="run `dvc repro`")
        return Record(serialized, stored.jpegs, [time / 1e6 for time in stored.timestamps])
