"""What the report counts."""

import numpy as np
import pandas as pd
import pytest

from pipeline.console import UserError
from pipeline.files import read_json, write_json
from pipeline.reporting import tables
from pipeline.reporting.inputs import read_inputs
from tests.reporting.results import write_results

CLASSES = ["a", "b", "c"]


def test_the_best_epoch_is_the_first_with_the_lowest_validation_loss():
    history = pd.DataFrame({"epoch": [1, 2, 3, 4], "validation_loss": [0.9, 0.5, 0.5, 0.7]})
    assert tables.best_epoch(history) == 2
    assert tables.best_epoch(history.assign(validation_loss=np.nan)) == 4


def test_splits_are_counted_with_what_was_skipped(tmp_path):
    inputs = read_inputs(*write_results(tmp_path, CLASSES, skipped=2))
    table = tables.split_table(inputs).set_index("split")
    assert table["clips"].to_dict() == {"train": 168, "validation": 24, "test": 84}
    assert table["skipped"].to_dict() == {"train": 2, "validation": 0, "test": 0}
    assert table["groups"].to_dict() == {"train": 42, "validation": 6, "test": 21}
    assert table.loc["test", ["frames", "seconds"]].tolist() == [84 * 40, 84 * 8]


def test_classes_carry_their_clips_and_scores(tmp_path):
    table = tables.class_table(read_inputs(*write_results(tmp_path, CLASSES)))
    assert table["class"].tolist() == CLASSES
    assert table[["train", "validation", "clips"]].to_numpy().tolist() == [[56, 8, 28]] * 3


def test_the_worst_mistakes_are_wrong_and_surest_first(tmp_path):
    test = read_inputs(*write_results(tmp_path, CLASSES, skill=1)).test
    wrong = int((test.predicted != test.labels).sum())
    table = tables.worst_mistakes(test, 5)
    assert wrong > 5 and len(table) == 5
    assert (table["actual"] != table["predicted"]).all()
    assert table["probability"].is_monotonic_decreasing
    assert (table["probability"] >= table["actual_probability"]).all()
    assert table["probability"][0] == test.probabilities.max(1)[test.predicted != test.labels].max()
    assert len(tables.worst_mistakes(test, 1000)) == wrong


def test_leaks_are_counted_in_groups_clips_and_copies(tmp_path):
    clean = tables.find_leaks(read_inputs(*write_results(tmp_path / "clean", CLASSES)))
    assert (clean.groups, clean.test_groups, clean.test_clips, clean.duplicates) == ([], 21, 0, [])
    leaky = tables.find_leaks(read_inputs(*write_results(tmp_path / "leaky", CLASSES, leak=True)))
    assert (leaky.groups, leaky.test_clips) == (["a_g01"], 4)
    assert leaky.duplicates == [("a/v_a_g08_c01.avi", "a/v_a_g01_c01.avi")]


def test_the_majority_share(tmp_path):
    test = read_inputs(*write_results(tmp_path, CLASSES)).test
    assert tables.majority_share(test) == pytest.approx(1 / 3)


def test_results_of_two_runs_are_refused(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    metrics = read_json(results / "metrics.json")
    write_json(results / "metrics.json", metrics | {"test": metrics["test"] | {"clips": 83}})
    with pytest.raises(UserError, match=r"metrics.json: test rests on 83 clips, predictions.csv has 84"):
        read_inputs(data, results)
    write_json(results / "metrics.json", metrics)
    frames = read_json(data / "frames/frames.json")
    write_json(data / "frames/frames.json", frames | {"classes": ["a", "b", "d"]})
    with pytest.raises(UserError, match="its classes are not those of"):
        read_inputs(data, results)
    write_json(data / "frames/frames.json", frames)
    text = (results / "predictions.csv").read_text()
    (results / "predictions.csv").write_text(text.replace("a/v_a_g01_c01.avi", "a/gone.avi"))
    with pytest.raises(UserError, match=r"1 clips are not in .*manifest.csv, first a/gone.avi"):
        read_inputs(data, results)


def test_incomplete_files_are_named(tmp_path):
    data, results = write_results(tmp_path, CLASSES)
    run = read_json(results / "run.json")
    write_json(results / "run.json", {})
    with pytest.raises(UserError, match=r"run.json: lacks run_id"):
        read_inputs(data, results)
    write_json(results / "run.json", run)
    metrics = read_json(results / "metrics.json")
    del metrics["test"]["ece"]
    write_json(results / "metrics.json", metrics)
    with pytest.raises(UserError, match=r"metrics.json: lacks test.ece"):
        read_inputs(data, results)
    (results / "history.csv").write_text("epoch,loss\n1,2\n")
    write_json(results / "metrics.json", metrics | {"test": metrics["test"] | {"ece": 0.1}})
    with pytest.raises(UserError, match=r"history.csv: lacks the column accuracy"):
        read_inputs(data, results)
    (results / "history.csv").unlink()
    with pytest.raises(UserError, match=r"history.csv: not found"):
        read_inputs(data, results)
