"""A part of a recording, in seconds from its first frame."""

from fractions import Fraction
from typing import NamedTuple

SHORTEST = 1 / 30  # seconds: a frame of most videos. Shorter segments are mistakes, and shorter overlaps are rounding.


class Segment(NamedTuple):
    """The frames shown from `start` until `end`, in seconds; end None: until the recording ends."""

    start: float
    end: float | None

    def __str__(self) -> str:
        return f"{self.start:.3f}-{'' if self.end is None else f'{self.end:.3f}'}"

    @property
    def name(self) -> str:
        """For names of clips: names of one recording's segments sort by time. E.g. `00012.400-00015.000`, `00012.400-end`."""
        return f"{self.start:09.3f}-{'end' if self.end is None else f'{self.end:09.3f}'}"

    @property
    def exact(self) -> tuple[Fraction, Fraction | None]:
        """Start and end as the decimals that they were written as: 0.1 is a tenth, which no float is."""
        return Fraction(repr(self.start)), None if self.end is None else Fraction(repr(self.end))
