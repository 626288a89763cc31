"""Text and tables in Markdown."""

import re
from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    """Text as it is, whatever it holds: no markup, no columns, one line."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def table(columns: Sequence[str], numeric: Sequence[bool], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table of texts. numeric: whether each column is aligned on the right."""
    aligned = ["---:" if right else "---" for right in numeric]
    lines = ([escape(name) for name in columns], aligned, *([escape(cell) for cell in row] for row in rows))
    return [f"| {' | '.join(line)} |" for line in lines]
