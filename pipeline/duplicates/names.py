"""Names that look like those of copies (`Copy of x`, `x (1)`, `x_flipped`): a hint for the reader, never a proof."""

from collections.abc import Iterable

__all__ = ["named_like_copies"]


def named_like_copies(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (original, copy) of names in one folder of which the second looks like that of a copy of the first, sorted."""
    raise NotImplementedError
