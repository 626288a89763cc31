"""A part of a recording, in seconds from its first frame."""

from typing import NamedTuple


class Segment(NamedTuple):
    """The frames shown from `start` until `end`, in seconds; end None: until the recording ends."""

    start: float
    end: float | None

    def __str__(self) -> str:
        return f"{self.start:.3f}-{'' if self.end is None else f'{self.end:.3f}'}"
