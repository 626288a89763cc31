"""The content of the report's tables, and the checks of its inputs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import RunRecord
from pipeline.console import UserError
from pipeline.files import read_json, write_json
from pipeline.reporting import tables
from pipeline.reporting.inputs import ReportInputs, read_inputs
from pipeline.sources.manifest import COLUMNS, read_manifest, write_manifest
from pipeline.tracking.environment import environment
from tests.reporting.results import some_params, write_results

CLASSES = ["a", "b", "c"]


def _read(data: Path, results: Path) -> ReportInputs:
    return read_inputs(data, results, some_params().evaluate, some_params().report)


def test_best_epoch_is_the_first_with_the_lowest_validation_loss(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES))
    history = pd.DataFrame({"epoch": [1, 2, 3, 4], "validation_loss": [0.9, 0.5, 0.5, 0.7]})
    assert replace(report, history=history).best_epoch == 2
    assert replace(report, history=history.assign(validation_loss=np.nan)).best_epoch == 4


def test_baselines_stand_below_what_they_are_compared_with(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES))
    table = tables.baselines(report).set_index("prediction")
    test = report.metrics.test
    assert table["clips"].to_dict() == {
        "the classifier, 2 views": 84,
        "always c": 84,
        "the classifier, 1 view": 20,
        "the same view, one frame repeated": 20,
        "the same view, frames shuffled": 20,
    }
    assert table["right"].tolist() == [f"{test.top1:.1%}", "33.3%", "95.0%", "90.0%", "94.0%"]
    gains = ["–", "+60.0 points (+50.0 to +70.0)", "–", "+5.0 points (+1.2 to +8.4)", "+1.0 points (-1.0 to +3.0)"]
    assert table["classifier's gain"].tolist() == gains
    assert table["log loss"].tolist() == pytest.approx([test.log_loss, np.nan, 0.2, 0.3, 0.25], nan_ok=True)
    assert report.majority_share == pytest.approx(1 / 3)


def test_results_of_an_earlier_version_have_no_baselines(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    content = read_json(results / "metrics.json")
    del content["baselines"], content["test"]["balanced_accuracy"]
    write_json(results / "metrics.json", content)
    report = _read(data, results)
    assert tables.baselines(report).empty and report.majority_share == pytest.approx(1 / 3)
    shown = tables.scores(report).set_index("score")["test"]
    assert shown["balanced accuracy"] == "–" != shown["macro F1"]


def test_balanced_accuracy_is_the_mean_recall_of_the_page(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES, skill=1))
    shown = tables.scores(report).set_index("score")["test"]["balanced accuracy"]
    assert shown == f"{tables.classes(report)['recall'].mean():.1%}"


def test_splits_count_skipped_clips(tmp_path):
    table = tables.splits(_read(*write_results(tmp_path, CLASSES, skipped=2))).set_index("split")
    assert table["clips"].to_dict() == {"train": 168, "validation": 24, "test": 84}
    assert table["skipped"].to_dict() == {"train": 2, "validation": 0, "test": 0}
    assert table["groups"].to_dict() == {"train": 42, "validation": 6, "test": 21}
    assert table.loc["test", ["frames", "minutes"]].tolist() == [84 * 40, 84 * 8 / 60]


def test_classes_have_the_clips_of_each_split(tmp_path):
    table = tables.classes(_read(*write_results(tmp_path, CLASSES)))
    assert table["class"].tolist() == CLASSES
    assert table[["train clips", "validation clips", "test clips"]].to_numpy().tolist() == [[56, 8, 28]] * 3


def test_mistakes_are_in_descending_order_of_confidence(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES, skill=1))
    test = report.test
    wrong = int((test.predicted != test.labels).sum())
    table = tables.mistakes(report, 5)
    assert wrong > 5 and len(table) == 5
    assert (table["actual"] != table["predicted"]).all()
    assert table["probability"].is_monotonic_decreasing
    assert (table["probability"] >= table["of the actual class"]).all()
    assert table["probability"][0] == test.probabilities.max(1)[test.predicted != test.labels].max()
    assert len(tables.mistakes(report, 1000)) == wrong


def test_leaks_count_groups_clips_and_duplicates(tmp_path):
    clean = _read(*write_results(tmp_path / "clean", CLASSES)).leaks
    assert (clean.groups, clean.test_groups, clean.test_clips, clean.duplicates) == ([], 21, 0, [])
    leaky = _read(*write_results(tmp_path / "leaky", CLASSES, leak=True)).leaks
    assert (leaky.groups, leaky.test_clips) == (["a_g01"], 4)
    assert leaky.duplicates == [("a/v_a_g08_c01.avi", "a/v_a_g01_c01.avi")] and leaky.near_duplicates == []


def test_sets_of_duplicates_across_splits_or_classes_are_listed(tmp_path):
    data, results = write_results(tmp_path, CLASSES, leak=True)
    report = _read(data, results)
    assert tables.duplicate_sets(report).empty and report.leaks.near_duplicates == []
    manifest = read_manifest(data / "manifest.csv").set_index("clip")
    sets = {
        "a/v_a_g01_c01.avi": ["a/v_a_g01_c01.avi", "a/v_a_g08_c01.avi", "a/v_a_g08_c02.avi"],
        "a/v_a_g09_c01.avi": ["a/v_a_g09_c01.avi", "a/v_a_g09_c02.avi"],
        "a/v_a_g10_c01.avi": ["a/v_a_g10_c01.avi", "b/v_b_g10_c01.avi"],
    }
    for first, members in sets.items():
        manifest.loc[members, "duplicate_of"] = first
    write_manifest(manifest.reset_index()[list(COLUMNS)], data / "manifest.csv")
    report = _read(data, results)
    assert report.leaks.near_duplicates == [("a/v_a_g08_c02.avi", "a/v_a_g01_c01.avi")]
    assert tables.duplicate_sets(report).to_numpy().tolist() == [
        [1, "a/v_a_g01_c01.avi", "test", "identical to another"],
        [1, "a/v_a_g08_c01.avi", "train", "identical to another"],
        [1, "a/v_a_g08_c02.avi", "train", "near-duplicate"],
        [2, "a/v_a_g10_c01.avi", "train", "near-duplicate"],
        [2, "b/v_b_g10_c01.avi", "train", "near-duplicate"],
    ]


def test_majority_share(tmp_path):
    assert _read(*write_results(tmp_path, CLASSES)).majority_share == pytest.approx(1 / 3)


def test_files_of_two_runs_are_refused(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    metrics = read_json(results / "metrics.json")
    write_json(results / "metrics.json", metrics | {"test": metrics["test"] | {"clips": 83}})
    with pytest.raises(UserError, match=r"metrics.json: test scores are of 83 clips, predictions.csv has 84"):
        _read(data, results)
    write_json(results / "metrics.json", metrics)
    frames = read_json(data / "frames/frames.json")
    write_json(data / "frames/frames.json", frames | {"classes": ["a", "b", "d"]})
    with pytest.raises(UserError, match="its classes are not those of"):
        _read(data, results)
    write_json(data / "frames/frames.json", frames)
    text = (results / "predictions.csv").read_text()
    (results / "predictions.csv").write_text(text.replace("a/v_a_g01_c01.avi", "a/gone.avi"))
    with pytest.raises(UserError, match=r"1 clips are not in .*manifest.csv, first a/gone.avi"):
        _read(data, results)


def test_incomplete_files_are_refused(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    run = read_json(results / "run.json")
    write_json(results / "run.json", {})
    with pytest.raises(UserError, match=r"run.json: lacks run_id"):
        _read(data, results)
    write_json(results / "run.json", run)
    metrics = read_json(results / "metrics.json")
    del metrics["test"]["ece"]
    write_json(results / "metrics.json", metrics)
    with pytest.raises(UserError, match=r"metrics.json: lacks test.ece"):
        _read(data, results)
    (results / "history.csv").write_text("epoch,loss\n1,2\n")
    write_json(results / "metrics.json", metrics | {"test": metrics["test"] | {"ece": 0.1}})
    with pytest.raises(UserError, match=r"history.csv: lacks the column accuracy"):
        _read(data, results)
    (results / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history.csv: not found"):
        _read(data, results)


def test_environment_is_that_of_training_and_differences_are_listed():
    trained = environment() | {"processor": "of training", "commit": "abc", "changed": False}
    report = SimpleNamespace(run=RunRecord(run_id="1", environment=trained), environment=environment())
    shown = tables.environment_of_run(report).set_index("component")["version or state"]
    assert shown["code"] == "commit abc" and shown["processor"].startswith("of training, ")
    assert tables.environment_differences(report)["component"].tolist() == ["code", "processor"]
    same = SimpleNamespace(run=RunRecord(run_id="1", environment=environment()), environment=environment())
    assert tables.environment_differences(same).empty


def test_environment_is_that_of_the_report_where_training_recorded_none():
    report = SimpleNamespace(run=RunRecord(run_id="1"), environment=environment())
    assert tables.environment_of_run(report).set_index("component").loc["tensorflow", "version or state"].startswith("2.")
    assert tables.environment_differences(report).empty


def test_classes_without_test_clips_have_no_scores(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES))
    rows = report.test.labels > 0
    part = replace(report.test, labels=report.test.labels[rows], predicted=report.test.predicted[rows])
    table = tables.classes(replace(report, test=part))
    assert table["test clips"].tolist() == [0, 28, 28]
    assert table[["precision", "recall", "F1"]].isna().to_numpy().tolist() == [[True] * 3, [False] * 3, [False] * 3]


def test_confusion_csv_allows_a_class_named_like_its_first_column():
    report = SimpleNamespace(classes=["actual", "b"], confusion_matrix=np.array([[3, 1], [0, 2]]))
    assert tables.confusion(report).to_csv(index=False) == "actual,actual,b\nactual,3,1\nb,0,2\n"


def test_suspects_are_those_of_the_file_the_worst_first(tmp_path):
    report = _read(*write_results(tmp_path, CLASSES, suspects=3))
    table = tables.suspects(report)
    assert table["file in data/clips"].tolist() == [f"a/v_a_g01_c0{number}.avi" for number in (1, 2, 3)]
    assert table.iloc[0].drop("file in data/clips").to_dict() == {
        "label": "a",
        "suggested": "c",
        "of the label": 0.125,
        "of the suggested": 0.75,
        "split": "test",
    }


def test_results_of_an_earlier_version_have_no_suspects(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    content = read_json(results / "metrics.json")
    del content["label_errors"]
    write_json(results / "metrics.json", content)
    (results / "suspects.csv").unlink()
    assert tables.suspects(_read(data, results)).empty


def test_suspects_of_another_run_are_refused(tmp_path):
    data, results = write_results(tmp_path, CLASSES, suspects=3)
    lines = (results / "suspects.csv").read_text(encoding="utf-8").splitlines()
    for changed in (lines[:-1], [*lines[:-1], lines[-1].replace("a/v_a", "a/v_gone", 1)]):
        (results / "suspects.csv").write_text("\n".join(changed), encoding="utf-8")
        with pytest.raises(UserError, match="they come from different runs"):
            _read(data, results)
