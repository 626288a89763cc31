"""The comparison: one row a trial, best first, and the trials that no other beats in both accuracy and cost.

Invariants: the order follows from validation alone. Test scores are listed next to it and choose nothing.
"""

import math
from dataclasses import asdict, fields

import pandas as pd

from pipeline.sweeping.costs import Cost
from pipeline.sweeping.plan import LARGER_IS_BETTER
from pipeline.sweeping.records import Trial

SCORES = ("top1", "top1_low", "top1_high", "macro_f1", "log_loss")
COSTS = tuple(field.name for field in fields(Cost))


def compare(trials: list[Trial], swept: list[str], costs: dict[str, Cost], objective: str) -> pd.DataFrame:
    """One row a trial: rank, trial, the values that vary, objective, scores of validation and test, costs, front, outcome.

    Finished trials come first, the best on top (ties: the lower validation log loss, then the fewer operations, then the name);
    failed ones follow without rank. `front`: no other trial has at least its validation top-1 for at most its operations, and
    is better in one of them.
    """
    rows = []
    for trial in trials:
        finished = trial.status == "finished"
        row = {"trial": trial.name, "status": trial.status, "origin": trial.origin}
        row |= {key: trial.overrides.get(key) for key in swept}
        row["objective"] = trial.objective if finished else None
        for split in ("validation", "test"):
            scores = getattr(trial.metrics, split) if finished else None
            row |= {f"{split}_{score}": getattr(scores, score, None) for score in SCORES}
        row |= asdict(costs.get(trial.name, Cost()))
        row |= {"seconds": trial.seconds, "run_id": trial.run_id, "error": trial.error}
        rows.append(row)
    columns = ["trial", "status", "origin", *swept]
    numbers = ["objective", *(f"{split}_{score}" for split in ("validation", "test") for score in SCORES), *COSTS, "seconds"]
    table = pd.DataFrame(rows, columns=[*columns, *numbers, "run_id", "error"])
    table = table.astype(dict.fromkeys(numbers, float)).astype({"parameters": "Int64", "flops": "Int64"})
    better = -table["objective"] if LARGER_IS_BETTER[objective] else table["objective"]
    keys = table.assign(unfinished=table["status"] != "finished", better=better)
    order = keys.sort_values(["unfinished", "better", "validation_log_loss", "flops", "trial"]).index
    table = table.loc[order].reset_index(drop=True)
    finished = table["status"] == "finished"
    table.insert(0, "rank", (table.index.to_series() + 1).astype("Int64").where(finished))
    table.insert(table.columns.get_loc("seconds"), "front", pareto(table["validation_top1"], table["flops"]))
    return table


def pareto(score: pd.Series, cost: pd.Series) -> list[bool]:
    """For each row, whether no other has at least its score for at most its cost, and is better in one. Unknown: False."""
    rows = list(zip(score.astype(float), cost.astype(float), strict=True))

    def is_beaten(row: tuple[float, float]) -> bool:
        return any(other[0] >= row[0] and other[1] <= row[1] and other != row for other in rows)

    return [not math.isnan(sum(row)) and not is_beaten(row) for row in rows]


def format_table(table: pd.DataFrame, swept: list[str], objective: str) -> pd.DataFrame:
    """The table for people: texts, units in the headings, reasons of failures; a key by its last word, if only it has that."""
    words = [key.split(".")[-1] for key in swept]
    labels = {key: word if words.count(word) == 1 else key for key, word in zip(swept, words, strict=True)}
    rows = []
    for _, row in table.iterrows():
        ended = {"finished": row["origin"], "failed": f"failed: {row['error']}", "running": "its process was lost"}
        values = {"#": "–" if pd.isna(row["rank"]) else str(row["rank"])}
        if objective != "top1":
            values[f"validation {objective}"] = _number(row["objective"], 1, 4)
        values |= {
            "validation top-1": _interval(row, "validation"),
            "test top-1 *": _interval(row, "test"),
            **{label: "" if pd.isna(row[key]) else short_value(row[key]) for key, label in labels.items()},
            "parameters (M)": _number(row["parameters"], 1e6, 3),
            "GFLOPs a clip": _number(row["flops"], 1e9, 3),
            "training step (ms)": _number(row["step_ms"], 1, 0),
            "latency (ms)": _number(row["latency_ms"], 1, 1),
            "peak memory (MiB)": _number(row["peak_mib"], 1, 0),
            "": "front" if row["front"] else "",
            "trial": row["trial"],
            "trial ended": ended[row["status"]],
        }
        rows.append(values)
    return pd.DataFrame(rows)


def short_value(value: str) -> str:
    """A value that varies, for people: what a sampler drew to 17 digits is shown to 4."""
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def _interval(row: pd.Series, split: str) -> str:
    top1, low, high = (_number(row[f"{split}_{name}"], 0.01, 1) for name in ("top1", "top1_low", "top1_high"))
    return top1 if top1 == "–" else f"{top1}%" + ("" if low == "–" else f" ({low}–{high})")


def _number(value: float | None, scale: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value / scale:,.{digits}f}"
