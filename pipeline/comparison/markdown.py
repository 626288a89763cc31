"""A comparison as Markdown, to paste into a merge request or a note; lists of clips are cut at `LISTED`."""

from collections.abc import Sequence

from pipeline.comparison.compare import Comparison
from pipeline.comparison.content import Section, Table
from pipeline.comparison.page import describe_figure
from pipeline.comparison.wording import caveats, describe_pair, describe_shared
from pipeline.reporting import markdown
from pipeline.reporting.markdown import escape

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


def _table(table: Table) -> list[str]:
    numeric = [number > 0 and name not in table.words for number, name in enumerate(table.columns)]
    lines = [f"**{escape(table.caption)}**", "", *markdown.table(table.columns, numeric, table.rows[:LISTED])]
    if len(table.rows) > LISTED:
        lines += ["", f"and {len(table.rows) - LISTED:,} more in index.html"]
    return lines
