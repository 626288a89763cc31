"""Repeats are averaged; their interval pools the test clips of all, and clips that were tested again do not count twice."""

from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest

from pipeline.console import UserError
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import Predictions
from pipeline.params import parse_params
from pipeline.sweeping import results
from pipeline.sweeping.plan import Plan
from pipeline.sweeping.records import Records
from pipeline.sweeping.repeats import format_repeats, summarise_repeats
from pipeline.sweeping.start import OpenSweep
from pipeline.sweeping.table import compare, format_table
from tests.sweeping.test_table import COSTS, trial
from tests.test_params import composed

EVALUATE = parse_params(composed("evaluate.bootstrap=500")).evaluate
KEY = "data.split.fold"


def predictions(groups: list[str], right: list[bool], classes=("a", "b")) -> Predictions:
    """Test clips of class a, and a validation clip, which does not count."""
    p = np.array([[0.8, 0.2] if hit else [0.3, 0.7] for hit in [*right, False]])
    names = np.array([f"a/{number}" for number in range(len(p))])
    splits = np.array(["test"] * len(right) + ["validation"])
    labels = np.zeros(len(p), np.int64)
    return Predictions(list(classes), names, np.array([*groups, "v"]), splits, labels, p.argmax(1), p)


def fold(model: str, number: int, validation: float, test: float, log_loss: float = 0.5):
    overrides = {"model": model, KEY: str(number)}
    return trial(f"{model}-{number}", number, validation, test, log_loss, overrides=overrides, commit=f"{model}-{number}")


FOLDS = [fold("a0", 1, 0.9, 0.5, 0.4), fold("a0", 2, 0.7, 1.0, 0.2), fold("a1", 1, 0.6, 0.75), fold("a1", 2, 0.5, 0.75)]
FILES = {
    "a0-1": predictions(["g1", "g1", "g2", "g2"], [True, True, False, False]),
    "a0-2": predictions(["g3", "g3"], [True, True]),
    "a1-1": predictions(["g1", "g1", "g2", "g2"], [True, True, True, False]),
    "a1-2": predictions(["g3", "g3", "g4", "g4"], [True, True, True, False]),
}


def predictions_of(trial):
    return FILES[trial.commit]


def test_one_row_a_setting_with_mean_spread_and_pooled_interval():
    table = summarise_repeats(FOLDS, KEY, [KEY, "model"], "top1", predictions_of, EVALUATE, seed=1)
    assert table["model"].tolist() == ["a0", "a1"] and table["repeats"].tolist() == [2, 2]
    first = table.iloc[0]
    assert (first["validation"], first["test_top1"], first["clips"]) == (pytest.approx(0.8), 0.75, 6)
    assert first["test_top1_spread"] == pytest.approx(np.sqrt(0.125)) and table["test_top1_spread"][1] == 0
    assert first["test_log_loss"] == pytest.approx(0.3)
    groups, right = ["g1", "g1", "g2", "g2", "g3", "g3"], [True, True, False, False, True, True]
    test = predictions(groups, right).of("test")
    pooled = score(test.probabilities, test.labels, test.groups, EVALUATE, 1)
    assert (first["test_top1_low"], first["test_top1_high"]) == (pooled.top1_low, pooled.top1_high) == (0.0, 1.0)
    lowest = summarise_repeats(FOLDS, KEY, [KEY, "model"], "log_loss", predictions_of, EVALUATE, seed=1)
    assert lowest["model"].tolist() == ["a1", "a0"], "the lowest mean objective is the best"


def test_seeds_do_not_narrow_the_interval():
    right = [True, False, True, True, False, True, True, True]
    once = predictions([f"g{n // 2}" for n in range(8)], right)
    seeds = [trial(f"s{n}", n, 0.9, 0.75, overrides={"seed": str(n)}, commit=str(n)) for n in range(1, 5)]
    alone = summarise_repeats(seeds[:1], "seed", ["seed"], "top1", lambda trial: once, EVALUATE, seed=1).iloc[0]
    four = summarise_repeats(seeds, "seed", ["seed"], "top1", lambda trial: once, EVALUATE, seed=1).iloc[0]
    assert (four["test_top1_low"], four["test_top1_high"]) == (alone["test_top1_low"], alone["test_top1_high"])
    assert np.isnan(alone["test_top1_spread"]) and four["test_top1_spread"] == 0


def test_other_classes_are_refused():
    files = FILES | {"a0-2": predictions(["g3"], [True], classes=("a", "c"))}
    with pytest.raises(UserError, match="a0-1 and its repeats have other classes"):
        summarise_repeats(FOLDS, KEY, [KEY, "model"], "top1", lambda trial: files[trial.commit], EVALUATE, seed=1)


def test_the_page_shows_the_mean_and_no_champion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swept = [KEY, "model"]
    repeats = summarise_repeats(FOLDS, KEY, swept, "top1", predictions_of, EVALUATE, seed=1)
    shown = format_repeats(repeats, "top1", 0.95)
    assert shown["repeats"].tolist() == [2, 2]
    assert shown["test top-1, mean ± spread"].tolist() == ["75.0% ± 35.4", "75.0% ± 0.0"]
    assert shown["pooled 95% interval"][0] == "0.0–100.0%"
    table = compare(FOLDS, swept, COSTS, "top1")
    plan = Plan("folds", "top1", {KEY: "1,2", "model": "a0,a1"}, swept, 4, {}, KEY)
    sweep = OpenSweep(plan, parse_params(composed()), "run", Records(tmp_path, "process"), "command", ExitStack())
    folder = results.write_results(sweep, table, format_table(table, swept, "top1"), FOLDS[0], None, repeats)
    page = (folder / "index.html").read_text()
    assert "75.0% ± 35.4" in page and "dvc exp apply a0-1" not in page.split("<h2>Trials")[0]
    assert pd.read_csv(folder / "repeats.csv")["model"].tolist() == ["a0", "a1"]
