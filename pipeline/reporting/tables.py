"""The tables and CSV files of a report. A new one is a function here, registered by `parts.table`, `parts.csv_file` or both."""

import math

import numpy as np
import pandas as pd

from pipeline.artifacts import BaselineScores, Scores
from pipeline.evaluation.metrics import per_class_scores
from pipeline.evaluation.predictions import MISTAKES, surest_mistakes
from pipeline.explanation.selection import SUSPECTS
from pipeline.reporting.inputs import ReportInputs
from pipeline.reporting.parts import csv_file, table
from pipeline.reporting.wording import count, interval, percent, points
from pipeline.sources.manifest import SPLITS
from pipeline.tracking.environment import differences, shown


@table("scores", formats={"test": "{}", "validation": "{}", "{confidence} interval": "{}"})
def scores(report: ReportInputs) -> pd.DataFrame:
    classes = len(report.classes)
    always = " (always true with so few classes)" if classes <= 5 else ""
    meanings = {
        "top-1": "the most probable class is the actual one",
        "top-5": f"the actual class is among the {min(5, classes)} most probable{always}",
        "macro F1": "mean over classes of the harmonic mean of precision and recall; small classes count as much as large ones",
        "balanced accuracy": "mean over classes of the recall, the share of a class's clips that are right",
        "log loss": f"mean negative log-likelihood in nats, lower is better; a uniform guess gives {math.log(classes):.3f}",
        "calibration error": f"mean gap between confidence and accuracy ({count(report.evaluate.bins, 'bin')}), lower is better",
        "clips": "",
        "groups": "clips of one group share a person or a scene",
    }
    splits = {"test": report.metrics.test, "validation": report.metrics.validation}
    columns = [_show_scores(split, of) for split, of in splits.items() if of is not None]
    return pd.concat([pd.Series(list(meanings), name="score"), *columns, pd.Series(meanings.values(), name="meaning")], axis=1)


def _show_scores(split: str, of: Scores) -> pd.DataFrame:
    rows = [
        (percent(of.top1), interval(of.top1_low, of.top1_high)),
        (percent(of.top5), interval(of.top5_low, of.top5_high)),
        (percent(of.macro_f1), interval(of.macro_f1_low, of.macro_f1_high)),
        (percent(of.balanced_accuracy), interval(of.balanced_accuracy_low, of.balanced_accuracy_high)),
        (f"{of.log_loss:.3f}", ""),
        (percent(of.ece), ""),
        (f"{of.clips:,}", ""),
        (f"{of.groups:,}", ""),
    ]
    return pd.DataFrame(rows, columns=[split, "{confidence} interval"])


@table(
    "baselines",
    formats={"right": "{}", "{confidence} interval": "{}", "log loss": "{:.3f}", "classifier's gain": "{}"},
    heading="On test clips",
)
def baselines(report: ReportInputs) -> pd.DataFrame:
    """Empty where an earlier version evaluated the classifier."""
    found, test = report.metrics.baselines, report.metrics.test
    if found is None:
        return pd.DataFrame()
    own = BaselineScores(top1=test.top1, top1_low=test.top1_low, top1_high=test.top1_high, log_loss=test.log_loss)
    views = count(report.evaluate.views, "view")
    rows = [(f"the classifier, {views}", test.clips, own)]
    rows += [(f"always {found.largest_class_name}", test.clips, found.largest_class)]
    if found.one_view is not None:
        rows += [
            ("the classifier, 1 view", found.clips, found.one_view),
            ("the same view, one frame repeated", found.clips, found.one_frame),
            ("the same view, frames shuffled", found.clips, found.shuffled),
        ]
    return pd.DataFrame(
        [
            {
                "prediction": name,
                "clips": clips,
                "right": percent(of.top1),
                "{confidence} interval": interval(of.top1_low, of.top1_high),
                "log loss": of.log_loss,
                "classifier's gain": "–" if of.gain is None else points(of.gain, of.gain_low, of.gain_high),
            }
            for name, clips, of in rows
        ]
    )


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
@table("confusion", formats={"share": "{:.0%}"}, empty="No test clip was mistaken for another class.", wide=False)
def confused_pairs(report: ReportInputs) -> pd.DataFrame:
    """share: of the clips of the actual class."""
    return report.confused_pairs


@csv_file
def per_class(report: ReportInputs) -> pd.DataFrame:
    return per_class_scores(report.test.labels, report.test.predicted, report.classes)


@table("classes", sortable=True)
def classes(report: ReportInputs) -> pd.DataFrame:
    """`per_class` with the clips of the other splits; a class without test clips has no scores."""
    frame = per_class(report)
    scored = ["precision", "recall", "f1"]
    frame[scored] = frame[scored].where(frame["clips"] > 0)
    counts = pd.crosstab(report.manifest["class"], report.manifest["split"])
    counts = counts.reindex(index=report.classes, columns=["train", "validation"], fill_value=0).reset_index(drop=True)
    return frame.join(counts.add_suffix(" clips")).rename(columns={"clips": "test clips", "f1": "F1"})


@table("mistakes", empty="No test clip was misclassified.", cards="mistake")
def mistakes(report: ReportInputs, n: int = MISTAKES) -> pd.DataFrame:
    """The `n` surest ones."""
    test = report.test
    wrong = surest_mistakes(test)[:n]
    names = np.array(test.classes, dtype=object)
    return pd.DataFrame(
        {
            "clip": test.clips[wrong],
            "actual": names[test.labels[wrong]],
            "predicted": names[test.predicted[wrong]],
            "probability": test.probabilities[wrong, test.predicted[wrong]],
            "of the actual class": test.probabilities[wrong, test.labels[wrong]],
        }
    )


@table("labels", empty="No clip is named.", limit=SUSPECTS, rest="clips; all are in results/suspects.csv", cards="suspect")
def suspects(report: ReportInputs) -> pd.DataFrame:
    """What fits a narrow page; the rest is in the file."""
    shown = {
        "given": "label",
        "suggested": "suggested",
        "p_given": "of the label",
        "p_suggested": "of the suggested",
        "split": "split",
        "file": "file in data/clips",
    }
    return report.suspects[list(shown)].rename(columns=shown)


@table("unknown", formats={"test": "{}", "validation": "{}", "{confidence} interval": "{}"})
def unknown_scores(report: ReportInputs) -> pd.DataFrame:
    """Empty where the classifier states no threshold."""
    if report.decision is None:
        return pd.DataFrame()
    meanings = {
        "get a class": "of the clips of known classes, at the chosen threshold",
        "unknown": "the others of them",
        "right when known": "of all clips that get a class, those whose class is right",
        "at 90% coverage": "those whose class is right, if the most confident 90% get a class",
        "AURC": "area under the risk-coverage curve, lower is better",
    }
    splits = {"test": report.metrics.test, "validation": report.metrics.validation}
    columns = [_show_unknown_scores(split, of) for split, of in splits.items() if of is not None]
    return pd.concat([pd.Series(list(meanings), name="score"), *columns, pd.Series(meanings.values(), name="meaning")], axis=1)


def _show_unknown_scores(split: str, of: Scores) -> pd.DataFrame:
    rows = [
        (percent(of.coverage), interval(of.coverage_low, of.coverage_high)),
        (percent(None if of.coverage is None else 1 - of.coverage), ""),
        (percent(of.accuracy_when_known), interval(of.accuracy_when_known_low, of.accuracy_when_known_high)),
        (percent(of.accuracy_at_90_coverage), ""),
        ("–" if of.aurc is None else f"{of.aurc:.4f}", ""),
    ]
    return pd.DataFrame(rows, columns=[split, "{confidence} interval"])


@csv_file
@table(
    "unknown",
    heading="Classes that were held out of training",
    formats={"AUROC": "{:.3f}", "threshold": "{:.3f}"},
    sortable=True,
)
def held_out_classes(report: ReportInputs) -> pd.DataFrame:
    rows = [
        {
            "class": row.class_name,
            "test clips": row.clips,
            "groups": row.groups,
            "refused": row.refused / row.clips,
            "others that get a class": row.coverage,
            "of these right": row.accuracy,
            "AUROC": row.auroc,
            "threshold": row.threshold,
        }
        for row in report.held_out.classes
    ]
    names = ["class", "test clips", "groups", "refused", "others that get a class", "of these right", "AUROC", "threshold"]
    return pd.DataFrame(rows, columns=names)


@table("data", formats={"minutes": "{:.1f}"})
def splits(report: ReportInputs) -> pd.DataFrame:
    """clips: in the manifest, skipped ones included. minutes: of the frames at the stored rate."""
    by_split = report.manifest.groupby("split")
    frame = pd.DataFrame({"clips": by_split.size(), "groups": by_split["group"].nunique()})
    frame["skipped"] = pd.Series([clip.split for clip in report.frames.skipped], dtype=str).value_counts()
    frame["frames"] = pd.Series({split: part.frames for split, part in report.frames.splits.items()})
    frame = frame.reindex(SPLITS).fillna(0).astype(int)
    frame["minutes"] = frame["frames"] / report.frames.fps / 60
    return frame.rename_axis("split").reset_index()


@table("data", heading="Groups on both sides", folded=True, limit=50, rest="groups")
def leaking_groups(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame({"group": report.leaks.groups})


@table("data", heading="Clips with the same frames on both sides", folded=True, limit=50, rest="pairs")
def duplicates(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame(report.leaks.duplicates, columns=["training or validation clip", "test clip"])


@table("data", heading="Clips that show the same, on both sides or in several classes", folded=True, limit=50, rest="clips")
def duplicate_sets(report: ReportInputs) -> pd.DataFrame:
    """A row per clip of each set of `duplicate_of` that is in several splits or classes; sets are numbered."""
    named = report.manifest[report.manifest["duplicate_of"] != ""]
    rows = []
    for _, members in named.groupby("duplicate_of"):
        if members["split"].nunique() > 1 or members["class"].nunique() > 1:
            number = rows[-1][0] + 1 if rows else 1
            first = members["sha256"].value_counts()
            rows += [
                (number, row.clip, row.split, "identical to another" if first[row.sha256] > 1 else "near-duplicate")
                for row in members.itertuples()
            ]
    return pd.DataFrame(rows, columns=["set", "clip", "split", "kind"])


@table("data", heading="Skipped clips", folded=True)
def skipped_clips(report: ReportInputs) -> pd.DataFrame:
    return pd.DataFrame(
        [(clip.clip, clip.split, clip.reason) for clip in report.frames.skipped], columns=["clip", "split", "reason"]
    )


@table("data", heading="Damaged clips", folded=True)
def damaged_clips(report: ReportInputs) -> pd.DataFrame:
    rows = [(clip.clip, clip.split, clip.complaint) for clip in report.frames.damaged]
    return pd.DataFrame(rows, columns=["clip", "split", "decoder's message"])


@table(
    "export",
    formats={
        "size": "{:.2f} MB",
        "{confidence} interval": "{}",
        "agreement": "{:.2%}",
        "at the end": "{:.2%}",
        "clear frames": "{:.2%}",
        "in top 5": "{:.2%}",
        "drift": "{:.4f}",
        "time per frame": "{:.2f} ms",
        "state": "{:.2f} MB",
    },
)
def exported_files(report: ReportInputs) -> pd.DataFrame:
    rows = [
        {
            "file": row.file,
            "size": row.bytes / 1e6,
            "test top-1": row.test_top1,
            "{confidence} interval": interval(row.test_top1_low, row.test_top1_high),
            "agreement": row.agreement,
            "at the end": row.agreement_at_end,
            "clear frames": row.agreement_clear,
            "in top 5": row.agreement_top5,
            "drift": row.confidence_drift,
            "time per frame": row.milliseconds_a_frame,
            "state": None if row.state_bytes is None else row.state_bytes / 1e6,
        }
        for row in report.export
    ]
    return pd.DataFrame(rows)


@table("run")
def environment_of_run(report: ReportInputs) -> pd.DataFrame:
    """What the classifier was trained with, or where training did not record it, what the report is made with."""
    return pd.DataFrame(shown(report.run.environment or report.environment).items(), columns=["component", "version or state"])


@table(
    "run",
    heading="Differences",
    folded=True,
    limit=20,
    rest="packages; all of training's are in environment.json of its MLflow run",
)
def environment_differences(report: ReportInputs) -> pd.DataFrame:
    trained = report.run.environment
    rows = differences(trained, report.environment) if trained else []
    return pd.DataFrame(rows, columns=["component", "trained with", "report made with"])
