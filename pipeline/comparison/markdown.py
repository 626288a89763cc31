"""A comparison as Markdown, to paste into a merge request or a note; lists of clips are cut at `LISTED`."""

import re
from collections.abc import Sequence

from pipeline.comparison.compare import Comparison
from pipeline.comparison.content import Section, Table
from pipeline.comparison.page import describe_figure
from pipeline.comparison.wording import caveats, describe_pair, describe_shared

LISTED = 20
PICTURE = "intervals.png"


def render_markdown(comparison: Comparison, sections: Sequence[Section]) -> str:
    """The text; it shows the figure from the file PICTURE next to it."""
    title = " against ".join(model.label for model in comparison.models)
    lines = [f"# {escape(title)}", "", escape(describe_shared(comparison)), ""]
    lines += [f"- {escape(model.label)}: {escape(model.read_as)}" for model in comparison.models] + [""]
    lines += [f"- **{escape(describe_pair(comparison, pair))}**" for pair in comparison.pairs]
    lines += [f"- Note: {escape(caveat)}" for caveat in caveats(comparison)]
    for section in sections:
        lines += [*([""] if lines[-1] else []), f"## {section.title}", ""]
        for paragraph in section.paragraphs:
            lines += [escape(paragraph), ""]
        if section.picture:
            lines += [f"![{escape(describe_figure(comparison))}]({PICTURE})", ""]
        for table in [*section.tables, *(flips.table for flips in section.flips)]:
            lines += [*_table(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """Text as it is, whatever it holds: no markup, no columns, one line."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def _table(table: Table) -> list[str]:
    aligned = ["---" if number == 0 or name in table.words else "---:" for number, name in enumerate(table.columns)]
    rows = [[escape(cell) for cell in row] for row in table.rows[:LISTED]]
    lines = [f"**{escape(table.caption)}**", ""]
    lines += [f"| {' | '.join(row)} |" for row in ([escape(name) for name in table.columns], aligned, *rows)]
    if len(table.rows) > LISTED:
        lines += ["", f"and {len(table.rows) - LISTED:,} more in index.html"]
    return lines
