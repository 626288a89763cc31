"""predictions.csv: round trips, and errors for invalid files."""

import numpy as np
import pandas as pd
import pytest

from pipeline.console import UserError
from pipeline.evaluation.predictions import predictions_frame, read_predictions, write_predictions

CLASSES = ["007", "NA", "a,b", 'say "hi"']


def _frame(split: str = "test", clips: int = 40, seed: int = 0, dtype=np.float32) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    chances = random.dirichlet(np.full(4, 0.3), clips).astype(dtype)
    labels = random.integers(0, 4, clips)
    names = [f"{split}/{i:03d}.avi" for i in range(clips)]
    return predictions_frame(names, [f"{i // 4:02d}" for i in range(clips)], split, labels, chances, CLASSES), labels, chances


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_round_trip(tmp_path, dtype):
    test, labels, chances = _frame(dtype=dtype)
    validation, *_ = _frame("validation", clips=7, seed=1)
    write_predictions(tmp_path / "predictions.csv", test, validation)
    read = read_predictions(tmp_path / "predictions.csv")
    assert (len(read), len(read.of("test")), len(read.of("validation")), len(read.of("train"))) == (47, 40, 7, 0)
    part = read.of("test")
    assert part.classes == CLASSES
    assert part.clips.tolist() == test["clip"].tolist()
    assert part.groups[:5].tolist() == ["00", "00", "00", "00", "01"]
    assert part.labels.tolist() == labels.tolist()
    assert part.predicted.tolist() == chances.argmax(1).tolist()
    assert np.array_equal(part.probabilities.astype(dtype), chances)


def test_columns():
    frame, *_ = _frame()
    assert frame.columns.tolist() == ["clip", "group", "split", "actual", "predicted", *(f"p_{name}" for name in CLASSES)]


def test_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(RuntimeError):
        write_predictions(tmp_path / "predictions.csv", _frame()[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="group"), "lacks the column group"),
        (lambda f: f[["clip", "group", "split", "actual", "predicted"]], "lacks the column p_<class>"),
        (lambda f: f.assign(actual="other"), "test/000.avi: actual class other has no p_ column"),
        (lambda f: f.assign(predicted="other"), "predicted class other has no p_ column"),
        (lambda f: f.assign(predicted="NA"), "predicted is NA, which is not the most probable class"),
        (lambda f: f.assign(p_NA=2.0), "row 0 is not a distribution"),
        (lambda f: f.assign(p_NA="much"), "not a number"),
        (lambda f: f.assign(clip="same"), "same: listed twice"),
    ],
)
def test_invalid_files_are_refused(tmp_path, spoil, message):
    path = tmp_path / "predictions.csv"
    spoil(_frame()[0]).to_csv(path, index=False)
    with pytest.raises(UserError, match=f"predictions.csv: .*{message}"):
        read_predictions(path)


def test_rounded_probabilities_are_accepted(tmp_path):
    path = tmp_path / "predictions.csv"
    frame, *_ = _frame()
    frame.round(4).to_csv(path, index=False)
    assert len(read_predictions(path)) == len(frame)


def test_absent_and_empty_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="not found; run `dvc repro`"):
        read_predictions(tmp_path / "predictions.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="not a CSV file"):
        read_predictions(tmp_path / "empty.csv")


def test_classes_must_be_distinct():
    with pytest.raises(ValueError, match="distinct"):
        predictions_frame(["a"], ["g"], "test", np.array([0]), np.array([[0.5, 0.5]]), ["x", "x"])
