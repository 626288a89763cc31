"""Whether classes are so rare that a classifier would neglect them."""

from collections.abc import Mapping

from pipeline.sources.left_out import few

IMBALANCE = 5  # times as many clips as a rare class has


def imbalance(clips: Mapping[str, int], what: str = "clips") -> str | None:
    """A line on the classes that have less than a fifth of the largest one's clips; None if there are none. clips: by class."""
    if not clips:
        return None
    largest = max(clips, key=clips.__getitem__)
    rare = sorted((name for name in clips if IMBALANCE * clips[name] < clips[largest]), key=clips.__getitem__)
    if not rare:
        return None
    have = "class has" if len(rare) == 1 else "classes have"
    shown = few((f"{name} {clips[name]}" for name in rare), 5)
    return f"{len(rare):,} {have} less than a fifth of the {what} of {largest} ({clips[largest]}): {shown}"
