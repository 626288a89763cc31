"""The results of a command as files: JSON, CSV and Markdown."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks.timing import Spread, ratios, spread
from pipeline.files import atomic_file, write_json, write_text
from pipeline.tracking.environment import environment

PACKAGES = {"tensorflow": "tensorflow", "opencv": "opencv-python-headless", "litert": "ai-edge-litert"}
KINDS = {
    "speed": "the plain way's seconds over ours: larger is better",
    "limit": "our seconds over the limit's: 1 is the limit, smaller is better",
    "time": "seconds on their own",
}


def describe_machine() -> dict:
    """What the numbers are measured on: machine, load before the start, the code's commit, versions."""
    found = environment()
    found |= {name: found["packages"][package] for name, package in PACKAGES.items()}
    del found["packages"]
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1 (TensorFlow's default)")
    return found | {"load_before": round(os.getloadavg()[0], 2), "onednn": onednn}


def bytes_in(path: Path) -> int:
    """What a file takes, or all files of a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 0 if value == 0 else max(0, 2 - int(f"{value:e}".split("e")[1]))
    return f"{value:.{digits}f}"


def spread_text(values: Spread) -> str:
    return f"{number(values.median)} ({number(values.low)} to {number(values.high)})"


def table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table: a column for each key."""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def save(folder: Path, name: str, rows: Sequence[dict], about: dict, lines: Sequence[str]) -> str:
    """Writes `name`.json, .csv and .md to `folder`; returns the last one's text.

    Args:
      rows: the results; lists are in the JSON alone.
      about: `command`, `machine` and what else the JSON says of all rows.
      lines: of the Markdown, under the command and the machine.
    """
    write_json(folder / f"{name}.json", about | {"rows": list(rows)})
    with atomic_file(folder / f"{name}.csv") as part:
        flat = [{key: value for key, value in row.items() if not isinstance(value, tuple)} for row in rows]
        pd.DataFrame(flat).to_csv(part, index=False)
    machine = about["machine"]
    measured = (
        f"Measured on {machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB, "
        f"TensorFlow {machine['tensorflow']}, LiteRT {machine['litert']}, oneDNN {machine['onednn']}, "
        f"load before the start {machine['load_before']}."
    )
    text = "\n".join([f"`{about['command']}`", "", measured, *lines]) + "\n"
    write_text(folder / f"{name}.md", text)
    return text


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
        return ratios(self.other, self.ours) if self.kind == "speed" else ratios(self.ours, self.other)

    def record(self) -> dict:
        """All of it, for JSON and CSV."""
        result = asdict(self) | {"repeats": len(self.ours)}
        parts = {"ours": spread(self.ours), "other": spread(self.other) if self.other else None, "ratio": self.ratio}
        for name, values in parts.items():
            for part in Spread._fields:
                result[f"{name}_{part}"] = None if values is None else getattr(values, part)
        return result

    def cells(self) -> dict[str, str]:
        """The same to read."""
        shown = {"What": self.what}
        if self.kind == "speed":
            shown |= {"plain / ours": spread_text(self.ratio), "plain": spread_text(spread(self.other))}
        elif self.kind == "limit":
            shown |= {"ours / limit": spread_text(self.ratio), "limit": spread_text(spread(self.other))}
        shown |= {"ours": spread_text(spread(self.ours)), "seconds of": self.unit, "repeats": str(len(self.ours))}
        return shown | {"measured on": self.measured, "note": self.note}


def save_comparisons(folder: Path, rows: Sequence[Row], about: dict, facts: Mapping[str, str]) -> str:
    """Writes benchmark.json, .csv and .md: a table for each kind of row. facts: what is no row."""
    lines = ["Medians, in brackets the smallest and the largest."]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())] if facts else []
    for kind, meaning in KINDS.items():
        chosen = [row.cells() for row in rows if row.kind == kind]
        if chosen:
            lines += ["", f"**{meaning[0].upper()}{meaning[1:]}.**", "", *table(chosen)]
    return save(folder, "benchmark", [row.record() for row in rows], about | {"facts": dict(facts)}, lines)
