"""The lines that extract prints about videos that could not be decoded completely."""

from collections.abc import Iterator

from pipeline.artifacts import FramesSummary

NAMED = 10  # clips listed by name; frames.json lists all


def damage_report(summary: FramesSummary, clips: int) -> Iterator[str]:
    """Yields the lines to print about clips that were skipped and clips that were kept although they are damaged.

    clips: number of clips in the manifest.
    """

    def named(items: list, key: str) -> Iterator[str]:
        yield from (f"  {item.clip} ({item.split}): {getattr(item, key)}" for item in items[:NAMED])
        if len(items) > NAMED:
            yield f"  and {len(items) - NAMED} more, listed in frames.json"

    skipped, damaged = summary.skipped, summary.damaged
    if skipped:
        yield f"{len(skipped)} of {clips} clips are left out:"
        yield from named(skipped, "reason")
    if damaged:
        decoded, expected = (sum(getattr(item, key) for item in damaged) for key in ("decoded", "expected"))
        yield f"{len(damaged)} of {clips} clips are damaged; {decoded:,} of their {expected:,} frames are kept:"
        yield from named(damaged, "complaint")
