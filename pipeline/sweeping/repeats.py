"""Trials that repeat a run with another fold or seed: mean, spread and pooled interval of their test scores.

The pooled interval resamples groups over the test clips of all repeats together (`bootstrap`). With folds each clip is tested
once; with seeds a group's clips occur once for each seed and stay together, so the interval does not shrink because clips are
counted again. The spread is the standard deviation between repeats (n - 1).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from pipeline.console import UserError
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import Predictions
from pipeline.settings import Evaluate
from pipeline.sweeping.plan import LARGER_IS_BETTER
from pipeline.sweeping.records import Trial


def summarise_repeats(
    trials: Sequence[Trial],
    key: str,
    swept: Sequence[str],
    objective: str,
    predictions_of: Callable[[Trial], Predictions],
    evaluate: Evaluate,
    seed: int,
) -> pd.DataFrame:
    """One row for each combination of the other swept values, the best mean validation objective first.

    Columns: these values, repeats (their number), validation (the mean objective), test_top1 and test_top1_spread (mean and
    standard deviation), test_top1_low and test_top1_high (pooled), test_macro_f1, test_log_loss (means), clips (tested, in all).

    Args:
      trials: the finished ones. key: the swept key that repeats.
      predictions_of: the predictions of a trial.
    """
    others = [name for name in swept if name != key]
    settings: dict[tuple, list[Trial]] = {}
    for trial in trials:
        settings.setdefault(tuple(trial.overrides.get(name, "") for name in others), []).append(trial)
    rows = []
    for values, repeats in settings.items():
        tests = [predictions_of(trial).of("test") for trial in repeats]
        classes = tests[0].classes
        if any(test.classes != classes for test in tests):
            raise UserError(f"{repeats[0].name} and its repeats have other classes", advice="repeat a run with the same classes")
        pooled = score(
            np.concatenate([test.probabilities for test in tests]),
            np.concatenate([test.labels for test in tests]),
            np.concatenate([test.groups for test in tests]),
            evaluate,
            seed,
        )
        top1 = [trial.metrics.test.top1 for trial in repeats]
        row = dict(zip(others, values, strict=True)) | {
            "repeats": len(repeats),
            "validation": float(np.mean([trial.objective for trial in repeats])),
            "test_top1": float(np.mean(top1)),
            "test_top1_spread": float(np.std(top1, ddof=1)) if len(top1) > 1 else np.nan,
            "test_top1_low": np.nan if pooled.top1_low is None else pooled.top1_low,
            "test_top1_high": np.nan if pooled.top1_high is None else pooled.top1_high,
            "test_macro_f1": float(np.mean([trial.metrics.test.macro_f1 for trial in repeats])),
            "test_log_loss": float(np.mean([trial.metrics.test.log_loss for trial in repeats])),
            "clips": pooled.clips,
        }
        rows.append(row)
    ascending = not LARGER_IS_BETTER[objective]
    return pd.DataFrame(rows).sort_values("validation", ascending=ascending, kind="stable", ignore_index=True)


def format_repeats(table: pd.DataFrame, objective: str, confidence: float) -> pd.DataFrame:
    """The table for people."""
    others = list(table.columns[: table.columns.get_loc("repeats")])
    shown = table[others].copy()
    shown["repeats"] = table["repeats"]
    shown[f"validation {objective}, mean"] = table["validation"].map("{:.4f}".format)
    spread = table["test_top1_spread"].map(lambda value: "" if np.isnan(value) else f" ± {100 * value:.1f}")
    shown["test top-1, mean ± spread"] = table["test_top1"].map(lambda value: f"{100 * value:.1f}%") + spread
    shown[f"pooled {100 * confidence:g}% interval"] = [
        "–" if np.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}%"
        for low, high in zip(table["test_top1_low"], table["test_top1_high"], strict=True)
    ]
    shown["test macro F1"] = table["test_macro_f1"].map("{:.3f}".format)
    shown["test log loss"] = table["test_log_loss"].map("{:.4f}".format)
    shown["test clips"] = table["clips"]
    return shown
