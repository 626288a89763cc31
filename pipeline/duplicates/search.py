"""Finds clips that show the same: byte-identical, re-encoded, resized, mirrored or trimmed copies."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pipeline.duplicates.fingerprints import Fingerprint

__all__ = ["DuplicateSet", "Kind", "Pair", "find_duplicates"]

# re-encoded includes resized. A mirrored or trimmed copy may be re-encoded too.
Kind = Literal["identical", "re-encoded", "trimmed", "mirrored", "mirrored and trimmed"]


class Pair(NamedTuple):
    """Two clips that show the same.

    Attributes:
      first, second: their names, first < second.
      score: how well their motion agrees where they overlap, a correlation up to 1; 1 for identical files.
    """

    first: str
    second: str
    kind: Kind
    score: float


class DuplicateSet(NamedTuple):
    """Clips that show the same, directly or by way of others: members sorted by name, pairs sorted."""

    members: tuple[str, ...]
    pairs: tuple[Pair, ...]


def find_duplicates(fingerprints: Mapping[str, Fingerprint]) -> list[DuplicateSet]:
    """The sets of clips that show the same, sorted; each clip is in one set at most. fingerprints: by name of the clip."""
    raise NotImplementedError
