"""The summary of an inspection on the terminal, in at most `LINES` lines."""

import textwrap
from pathlib import Path

from pipeline.inspection.content import Inspection
from pipeline.inspection.findings import counted

__all__ = ["LINES", "describe_seconds", "summarise"]

LINES = 40
CLASSES = 8  # of the table; more are counted
WIDTH = 160  # characters of a line


def describe_seconds(seconds: float | None) -> str:
    """E.g. `7.2 s`, `12 min`, `3.4 h`."""
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def summarise(content: Inspection, out: Path) -> str:
    """The lines; findings that do not fit are counted. out: where the page is."""
    head = [
        f"{content.source}: {counted(len(content.videos), 'video')}, {counted(content.clips, 'usable clip')}, "
        f"{describe_seconds(content.seconds)}, {content.bytes / 1e6:,.1f} MB",
        content.layout,
        "",
        *_classes(content),
        "",
        f"groups: {content.grouped_by} ({content.grouping})",
    ]
    rows = counted(content.clips, "row")
    bare = f", {content.unlabelled:,} without a label" if content.unlabelled else ""
    tail = [
        "",
        f"page {out / 'index.html'}, content {out / 'inspection.json'}, listing {out / 'listing.csv'} ({rows}{bare})",
        "next:",
        *(f"  {step}" for step in content.next_steps),
    ]
    head = [_short(line) for line in head]
    room = LINES - len(head) - len(tail) - 2
    return "\n".join([*head, *_findings(content, room), *tail])


def _classes(content: Inspection) -> list[str]:
    order = sorted(content.classes, key=lambda one: (-one.clips, one.label))
    shown = order if len(order) <= CLASSES else order[: CLASSES - 1]
    names = [textwrap.shorten(one.label or "(no label)", 40, placeholder="...") for one in shown]
    width = max(map(len, names))
    lines = [
        f"  {name:<{width}}  {one.clips:>6,} clips  {one.share:>6.1%}  {describe_seconds(one.seconds):>9}  "
        f"median {describe_seconds(one.median_seconds):>7}  {one.groups:>5,} groups"
        for name, one in zip(names, shown, strict=True)
    ]
    rest = order[len(shown) :]
    if rest:
        fewest, most = rest[-1].clips, rest[0].clips
        sizes = f"{fewest:,} to {counted(most, 'clip')}" if fewest < most else f"{counted(most, 'clip')} each"
        lines.append(f"  and {counted(len(rest), 'class', 'classes')} more, of {sizes}")
    return lines


def _findings(content: Inspection, room: int) -> list[str]:
    if not content.findings:
        return ["nothing to look at"]
    lines: list[str] = []
    for number, finding in enumerate(content.findings):
        own = [_short(f"{finding.status:<8} {finding.message}")]
        if finding.advice:
            own.append(_short(f"         -> {finding.advice}"))
        left = len(content.findings) - number
        if len(lines) + len(own) + (left > 1) > room:
            return [*lines, f"and {left} more on the page"]
        lines += own
    return lines


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
