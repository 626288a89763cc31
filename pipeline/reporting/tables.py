"""The tables and CSV files of a report. A new one is a function here, registered by `parts.table`, `parts.csv_file` or both."""

import math

import numpy as np
import pandas as pd

from pipeline.artifacts import Scores
from pipeline.evaluation.metrics import per_class_scores
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.parts import csv_file, number, table, words
from pipeline.reporting.wording import count, interval, percent
from pipeline.sources.manifest import SPLITS
from pipeline.tracking.environment import differences, shown


@table(
    "scores",
    {
        "score": words("score"),
        "test": number("test", "{}", "number strong"),
        "test_interval": number("{confidence} interval", "{}"),
        "validation": number("validation", "{}"),
        "validation_interval": number("{confidence} interval", "{}"),
        "meaning": words("meaning", "prose"),
    },
)
def scores(report: ReportInputs) -> pd.DataFrame:
    classes = len(report.classes)
    always = " (always true with so few classes)" if classes <= 5 else ""
    meanings = {
        "top-1": "the most probable class is the actual one",
        "top-5": f"the actual class is among the {min(5, classes)} most probable{always}",
        "macro F1": "mean over classes of the harmonic mean of precision and recall; small classes count as much as large ones",
        "log loss": f"mean negative log-likelihood in nats, lower is better; a uniform guess gives {math.log(classes):.3f}",
        "calibration error": f"mean gap between confidence and accuracy ({count(report.evaluate.bins, 'bin')}), lower is better",
        "clips": "",
        "groups": "clips of one group share a person or a scene",
    }
    frame = pd.DataFrame({"score": meanings.keys(), "meaning": meanings.values()})
    for split, of in (("test", report.metrics.test), ("validation", report.metrics.validation)):
        if of is not None:
            frame[split], frame[f"{split}_interval"] = _show_scores(of), _show_intervals(of)
    return frame


def _show_scores(of: Scores) -> list[str]:
    shares = (percent(value) for value in (of.top1, of.top5, of.macro_f1))
    return [*shares, f"{of.log_loss:.3f}", percent(of.ece), f"{of.clips:,}", f"{of.groups:,}"]


def _show_intervals(of: Scores) -> list[str]:
    ends = ((of.top1_low, of.top1_high), (of.top5_low, of.top5_high), (of.macro_f1_low, of.macro_f1_high))
    return [*(interval(low, high) for low, high in ends), "", "", "", ""]


@csv_file
def confusion(report: ReportInputs) -> pd.DataFrame:
    frame = pd.DataFrame(report.confusion_matrix, columns=report.classes)
    frame.insert(0, "actual", report.classes, allow_duplicates=True)  # a class may have this name
    return frame


@csv_file
def test_labels(report: ReportInputs) -> pd.DataFrame:
    """A row per test clip, for `dvc plots`."""
    names = np.array(report.classes, dtype=object)
    return pd.DataFrame({"actual": names[report.test.labels], "predicted": names[report.test.predicted]})


@csv_file
@table(
    "confusion",
    {
        "actual": words("actual"),
        "predicted": words("predicted"),
        "clips": number("clips"),
        "share": number("share of class", "{:.0%}"),
    },
    empty="No test clip was mistaken for another class.",
    wide=False,
)
def confused_pairs(report: ReportInputs) -> pd.DataFrame:
    return report.confused_pairs


@csv_file
def per_class(report: ReportInputs) -> pd.DataFrame:
    return per_class_scores(report.test.labels, report.test.predicted, report.classes)


@table(
    "classes",
    {
        "class": words("class"),
        "clips": number("test clips"),
        "precision": number("precision", "{:.1%}"),
        "recall": number("recall", "{:.1%}"),
        "f1": number("F1", "{:.1%}"),
        "train": number("train clips"),
        "validation": number("validation clips"),
    },
    sortable=True,
)
def classes(report: ReportInputs) -> pd.DataFrame:
    """`per_class` with the clips of the other splits; a class without test clips has no scores."""
    frame = per_class(report)
    scored = ["precision", "recall", "f1"]
    frame[scored] = frame[scored].where(frame["clips"] > 0)
    counts = pd.crosstab(report.manifest["class"], report.manifest["split"])
    counts = counts.reindex(index=report.classes, columns=SPLITS, fill_value=0)
    return frame.assign(train=counts["train"].to_numpy(), validation=counts["validation"].to_numpy())


@table(
    "mistakes",
    {
        "clip": words("clip", "path"),
        "actual": words("actual"),
        "predicted": words("predicted"),
        "probability": number("probability", "{:.1%}"),
        "actual_probability": number("of the actual class", "{:.1%}"),
    },
    empty="No test clip was misclassified.",
)
def mistakes(report: ReportInputs, n: int = 20) -> pd.DataFrame:
    """The `n` misclassified clips with the highest probability of the predicted class; ties in the order of clips."""
    test = report.test
    wrong = np.flatnonzero(test.predicted != test.labels)
    names = np.array(test.classes, dtype=object)
    frame = pd.DataFrame(
        {
            "clip": test.clips[wrong],
            "actual": names[test.labels[wrong]],
            "predicted": names[test.predicted[wrong]],
            "probability": test.probabilities[wrong, test.predicted[wrong]],
            "actual_probability": test.probabilities[wrong, test.labels[wrong]],
        }
    )
    return frame.sort_values(["probability", "clip"], ascending=[False, True], ignore_index=True).head(n)


@table(
    "data",
    {
        "split": words("split"),
        "clips": number("clips"),
        "skipped": number("skipped"),
        "groups": number("groups"),
        "frames": number("frames"),
        "minutes": number("minutes", "{:.1f}"),
    },
)
def splits(report: ReportInputs) -> pd.DataFrame:
    """clips: in the manifest, skipped ones included. minutes: of the frames at the stored rate."""
    by_split = report.manifest.groupby("split")
    frame = pd.DataFrame({"clips": by_split.size(), "groups": by_split["group"].nunique()})
    frame["skipped"] = pd.Series([clip.split for clip in report.frames.skipped], dtype=str).value_counts()
    frame["frames"] = pd.Series({split: part.frames for split, part in report.frames.splits.items()})
    frame = frame.reindex(SPLITS).fillna(0).astype(int)
    return frame.assign(minutes=frame["frames"] / report.frames.fps / 60).rename_axis("split").reset_index()


@table("data", {"group": words("group")}, heading="Groups on both sides", folded=True, limit=50, rest="groups")
def leaking_groups(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame({"group": report.leaks.groups})


@table(
    "data",
    {"other": words("training or validation clip", "path"), "test": words("test clip", "path")},
    heading="Byte-identical clips on both sides",
    folded=True,
    limit=50,
    rest="pairs",
)
def duplicates(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame(report.leaks.duplicates, columns=["other", "test"])


@table(
    "data",
    {"clip": words("clip", "path"), "split": words("split"), "reason": words("reason")},
    heading="Skipped clips",
    folded=True,
)
def skipped_clips(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame([clip.model_dump() for clip in report.frames.skipped])


@table(
    "data",
    {"clip": words("clip", "path"), "split": words("split"), "complaint": words("decoder's message")},
    heading="Damaged clips",
    folded=True,
)
def damaged_clips(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame([clip.model_dump() for clip in report.frames.damaged])


@table(
    "export",
    {
        "file": words("file"),
        "megabytes": number("size", "{:.2f} MB"),
        "test_top1": number("test top-1", "{:.1%}", "number strong"),
        "interval": number("{confidence} interval", "{}"),
        "agreement": number("agreement", "{:.2%}"),
        "agreement_at_end": number("at the end", "{:.2%}"),
        "milliseconds_a_frame": number("time per frame", "{:.2f} ms"),
        "state_megabytes": number("state", "{:.2f} MB"),
    },
)
def exported_files(report: ReportInputs) -> pd.DataFrame:
    if not report.export:
        return pd.DataFrame()
    frame = pd.DataFrame([row.model_dump() for row in report.export])
    return frame.assign(
        megabytes=frame["bytes"] / 1e6,
        interval=[interval(row.test_top1_low, row.test_top1_high) for row in report.export],
        state_megabytes=pd.to_numeric(frame["state_bytes"]) / 1e6,
    )


@table("run", {"component": words("component"), "value": words("version or state")})
def environment_of_run(report: ReportInputs) -> pd.DataFrame:
    """What the classifier was trained with, or where training did not record it, what the report is made with."""
    return pd.DataFrame(shown(report.run.environment or report.environment).items(), columns=["component", "value"])


@table(
    "run",
    {"component": words("component"), "trained": words("trained with"), "report": words("report made with")},
    heading="Differences",
    folded=True,
    limit=20,
    rest="packages; all of training's are in environment.json of its MLflow run",
)
def environment_differences(report: ReportInputs) -> pd.DataFrame:
    trained = report.run.environment
    rows = differences(trained, report.environment) if trained else []
    return pd.DataFrame(rows, columns=["component", "trained", "report"])
