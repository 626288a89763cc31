"""The report's tables, as data frames and plain values: what is counted stands here, how it is worded stands in `page`."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.evaluation.metrics import per_class
from pipeline.evaluation.predictions import Predictions
from pipeline.reporting.inputs import Inputs
from pipeline.sources.manifest import SPLITS, duplicated_across, leaking_groups


@dataclass(frozen=True)
class Leaks:
    """What training and test share; anything here makes the test scores too good."""

    groups: list[str]  # on both sides
    test_groups: int  # all groups tested
    test_clips: int  # test clips that are in one of `groups`
    duplicates: list[tuple[str, str]]  # byte-identical clips on different sides


def best_epoch(history: pd.DataFrame) -> int:
    """The epoch whose weights were kept: the first with the lowest validation loss; without validation, the last."""
    losses = history["validation_loss"]
    return int(history["epoch"][losses.idxmin() if losses.notna().any() else history.index[-1]])


def split_table(inputs: Inputs) -> pd.DataFrame:
    """One row a split: split, clips (in the manifest), skipped, groups, frames, seconds (frames at the stored rate)."""
    skipped = pd.Series([entry.split for entry in inputs.frames.skipped], dtype=str).value_counts()
    rows = []
    for split in SPLITS:
        part = inputs.manifest[inputs.manifest["split"] == split]
        frames = inputs.frames.splits[split].frames if split in inputs.frames.splits else 0
        rows.append(
            {
                "split": split,
                "clips": len(part),
                "skipped": int(skipped.get(split, 0)),
                "groups": part["group"].nunique(),
                "frames": frames,
                "seconds": frames / inputs.frames.fps,
            }
        )
    return pd.DataFrame(rows)


def class_table(inputs: Inputs) -> pd.DataFrame:
    """`metrics.per_class` of the test clips, and the clips each class trains and validates on: columns train, validation."""
    counts = pd.crosstab(inputs.manifest["class"], inputs.manifest["split"])
    counts = counts.reindex(index=inputs.classes, columns=SPLITS, fill_value=0)
    table = per_class(inputs.test.labels, inputs.test.predicted, inputs.classes)
    return table.assign(train=counts["train"].to_numpy(), validation=counts["validation"].to_numpy())


def worst_mistakes(predictions: Predictions, n: int) -> pd.DataFrame:
    """The `n` wrong clips the classifier was surest about: clip, actual, predicted, probability (of the predicted class),
    actual_probability; surest first, equal ones by clip."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    names = np.array(predictions.classes, dtype=object)
    table = pd.DataFrame(
        {
            "clip": predictions.clips[wrong],
            "actual": names[predictions.labels[wrong]],
            "predicted": names[predictions.predicted[wrong]],
            "probability": predictions.probabilities[wrong, predictions.predicted[wrong]],
            "actual_probability": predictions.probabilities[wrong, predictions.labels[wrong]],
        }
    )
    return table.sort_values(["probability", "clip"], ascending=[False, True], ignore_index=True).head(n)


def majority_share(predictions: Predictions) -> float:
    """The top-1 of always naming the class with the most clips: what a score has to beat."""
    return float(np.bincount(predictions.labels).max() / len(predictions))


def find_leaks(inputs: Inputs) -> Leaks:
    """What the test split shares with training and validation, by group and by content."""
    groups = leaking_groups(inputs.manifest)
    tested = inputs.manifest[inputs.manifest["split"] == "test"]
    return Leaks(
        groups=groups,
        test_groups=tested["group"].nunique(),
        test_clips=int(tested["group"].isin(groups).sum()),
        duplicates=duplicated_across(inputs.manifest),
    )
