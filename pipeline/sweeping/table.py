"""The comparison: one row a trial, best first, and which trials nothing beats in both accuracy and cost.

Invariants: the order follows from validation alone. Test scores stand beside it and choose nothing.
"""

from dataclasses import asdict, fields

import pandas as pd

from pipeline.sweeping.costs import Cost
from pipeline.sweeping.records import Trial
from pipeline.sweeping.settings import LARGER_IS_BETTER

SCORES = ("top1", "top1_low", "top1_high", "macro_f1", "log_loss")
COSTS = tuple(field.name for field in fields(Cost))


def comparison(trials: list[Trial], swept: list[str], costs: dict[str, Cost], objective: str) -> pd.DataFrame:
    """One row a trial: rank, trial, the values that vary, objective, scores of validation and test, costs, front, outcome.

    Finished trials come first, the best on top (ties: the lower validation log loss, then the fewer operations, then the name);
    failed ones follow without rank. `front`: no other trial has at least its validation top-1 for at most its operations, and
    one of them better.
    """
    rows = []
    for trial in trials:
        row = {"trial": trial.name, "status": trial.status, "origin": trial.origin}
        row |= {key: trial.overrides.get(key) for key in swept}
        row["objective"] = trial.objective
        for part in ("validation", "test"):
            row |= {f"{part}_{score}": (trial.metrics or {}).get(part, {}).get(score) for score in SCORES}
        row |= asdict(costs.get(trial.name, Cost()))
        row |= {"seconds": trial.seconds, "run_id": trial.run_id, "error": trial.error}
        rows.append(row)
    columns = ["trial", "status", "origin", *swept, "objective"]
    columns += [f"{part}_{score}" for part in ("validation", "test") for score in SCORES]
    table = pd.DataFrame(rows, columns=[*columns, *COSTS, "seconds", "run_id", "error"])
    for count in ("parameters", "flops"):
        table[count] = table[count].astype("Int64")
    sign = -1 if LARGER_IS_BETTER[objective] else 1
    keys = pd.DataFrame(
        {
            "failed": table["status"] != "finished",
            "objective": sign * table["objective"].astype(float),
            "log_loss": table["validation_log_loss"].astype(float),
            "flops": table["flops"].astype(float),
            "trial": table["trial"],
        }
    )
    table = table.loc[keys.sort_values(list(keys)).index].reset_index(drop=True)
    finished = table["status"] == "finished"
    table.insert(0, "rank", pd.array([place + 1 if ok else pd.NA for place, ok in enumerate(finished)], dtype="Int64"))
    table.insert(table.columns.get_loc("seconds"), "front", pareto(table["validation_top1"], table["flops"]))
    return table


def pareto(score: pd.Series, cost: pd.Series) -> list[bool]:
    """For each row, whether no other has at least its score for at most its cost, and one of them better. Unknown: False."""
    pairs = [
        None if pd.isna(one) or pd.isna(other) else (float(one), float(other)) for one, other in zip(score, cost, strict=True)
    ]
    known = [pair for pair in pairs if pair is not None]
    return [pair is not None and not any(s >= pair[0] and c <= pair[1] and (s, c) != pair for s, c in known) for pair in pairs]


def _percent(value: float | None) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}%"


def _interval(row: pd.Series, part: str) -> str:
    text, low, high = (_percent(row[f"{part}_{name}"]) for name in ("top1", "top1_low", "top1_high"))
    return text if low == "–" else f"{text} ({low.removesuffix('%')}–{high.removesuffix('%')})"


def _number(value: float | None, scale: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value / scale:,.{digits}f}"


def shown(table: pd.DataFrame, swept: list[str], objective: str) -> pd.DataFrame:
    """The table as people read it: texts, units in the headings, failed trials with their reason."""
    rows = []
    for _, row in table.iterrows():
        values = {"#": "–" if pd.isna(row["rank"]) else str(row["rank"]), "trial": row["trial"]}
        values |= {key: "" if pd.isna(row[key]) else short_value(row[key]) for key in swept}
        if objective != "top1":
            values[f"validation {objective}"] = _number(row["objective"], 1, 4)
        values |= {
            "validation top-1": _interval(row, "validation"),
            "test top-1 *": _interval(row, "test"),
            "parameters (M)": _number(row["parameters"], 1e6, 3),
            "GFLOPs a clip": _number(row["flops"], 1e9, 3),
            "training step (ms)": _number(row["step_ms"], 1, 0),
            "latency (ms)": _number(row["latency_ms"], 1, 1),
            "peak memory (MiB)": _number(row["peak_mib"], 1, 0),
            "": "front" if row["front"] else "",
            "trial ended": row["status"] if row["status"] == "failed" else row["origin"],
        }
        if row["status"] == "failed":
            values["trial ended"] = f"failed: {row['error']}"
        rows.append(values)
    return pd.DataFrame(rows).fillna("")


def short_value(value: str) -> str:
    """A value that varies, as a person wants it: what a sampler drew to 17 digits, to 4."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def markdown(frame: pd.DataFrame) -> str:
    """The frame as a Markdown table."""

    def line(cells) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(frame.columns), line("---" for _ in frame.columns), *(line(row) for row in frame.to_numpy())]) + "\n"
