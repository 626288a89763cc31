"""The table of results: a row a comparison, written as JSON, CSV and Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks.machine import machine_line
from benchmarks.timing import Spread, ratios, spread
from pipeline.files import atomic_file, write_json, write_text

KINDS = {
    "speed": ("What", "the plain way's seconds over ours: larger is better"),
    "limit": ("What", "our seconds over the limit's: 1 is the limit, smaller is better"),
    "time": ("What", "seconds on their own"),
}


@dataclass(frozen=True)
class Row:
    """A comparison, or a single time.

    kind: of KINDS. unit: what the seconds are of. ours, other: seconds, one a round; `other` is the plain way's (speed) or the
    limit's (limit), empty for a time. measured: how much of the unit was run. note: what else one must know.
    """

    section: str
    kind: str
    what: str
    unit: str
    ours: tuple[float, ...]
    other: tuple[float, ...] = ()
    measured: str = "whole"
    note: str = ""

    @property
    def ratio(self) -> Spread | None:
        if self.kind == "time":
            return None
        above, below = (self.other, self.ours) if self.kind == "speed" else (self.ours, self.other)
        return ratios(above, below)

    @property
    def repeats(self) -> int:
        return len(self.ours)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 0 if value == 0 else max(0, 2 - int(f"{value:e}".split("e")[1]))
    return f"{value:.{digits}f}"


def spread_text(values: Spread) -> str:
    return f"{number(values.median)} ({number(values.low)} to {number(values.high)})"


def flat(row: Row) -> dict:
    """A row of the CSV."""
    result = {name: value for name, value in asdict(row).items() if name not in ("ours", "other")} | {"repeats": row.repeats}
    parts = {"ours": spread(row.ours), "other": spread(row.other) if row.other else None, "ratio": row.ratio}
    for name, values in parts.items():
        for part in Spread._fields:
            result[f"{name}_{part}"] = None if values is None else getattr(values, part)
    return result


def markdown(rows: Sequence[Row], machine: dict, command: str, facts: dict) -> str:
    """All of it to read: the machine, the command, a table for each kind of row."""
    lines = [f"`{command}`", "", f"Measured on {machine_line(machine)}.", "Medians, in brackets the smallest and the largest."]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())] if facts else []
    headings = {"speed": ("plain", "plain / ours"), "limit": ("limit", "ours / limit"), "time": None}
    for kind, (what, meaning) in KINDS.items():
        chosen = [row for row in rows if row.kind == kind]
        if not chosen:
            continue
        other = headings[kind]
        columns = [what, *(other[1:] if other else ()), *(other[:1] if other else ()), "ours", "seconds of", "repeats"]
        columns += ["measured on", "note"]
        lines += ["", f"**{meaning[0].upper()}{meaning[1:]}.**", ""]
        lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for row in chosen:
            cells = [row.what]
            if other:
                cells += [spread_text(row.ratio), spread_text(spread(row.other))]
            cells += [spread_text(spread(row.ours)), row.unit, str(row.repeats), row.measured, row.note]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def save(folder: Path, rows: Sequence[Row], machine: dict, command: str, facts: dict) -> str:
    """Writes benchmark.json, benchmark.csv and benchmark.md to `folder`; returns the last one's text."""
    content = [flat(row) | {"ours": list(row.ours), "other": list(row.other)} for row in rows]
    write_json(folder / "benchmark.json", {"command": command, "machine": machine, "facts": facts, "rows": content})
    with atomic_file(folder / "benchmark.csv") as part:
        pd.DataFrame([flat(row) for row in rows]).to_csv(part, index=False)
    text = markdown(rows, machine, command, facts)
    write_text(folder / "benchmark.md", text)
    return text
