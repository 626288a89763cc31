"""A measured cost is used again for as long as nothing that decides it changes."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription, Decision
from pipeline.files import write_json
from pipeline.sweeping import costs
from pipeline.tracking.environment import environment
from tests.sweeping.repository import repository, run_git  # noqa: F401
from tests.sweeping.test_table import trial

DESCRIPTION = ClassifierDescription(
    classes=["a", "b"], model="a0", activation="swish", trainable="head", best_epoch=3, fps=5.0, size=64, count=8, views=2
)


@pytest.fixture
def code(repository) -> Path:  # noqa: F811
    costs._made_here.cache_clear()
    yield repository / "stages/code.py"
    costs._made_here.cache_clear()


def key(**changes) -> str:
    costs._made_here.cache_clear()
    return costs.network_key(DESCRIPTION.model_copy(update=changes))


def test_other_code_gives_another_key_committed_or_not(code):
    keys = [key()]
    code.write_text("one = 2\n")
    keys.append(key())
    run_git("commit", "-qam", "changed")
    keys.append(key())
    assert len(set(keys)) == 3
    (code.parent.parent / "README.md").write_text("other\n")
    run_git("commit", "-qam", "text")
    assert key() == keys[-1]


def test_other_values_and_classes_share_a_measurement(code):
    decision = Decision(threshold=0.5, by="coverage", level=0.95, coverage=1, precision=1, clip_seconds=2)
    assert key(classes=["x", "y"], best_epoch=1, decision=decision) == key()
    for change in ({"views": 3}, {"size": 32}, {"classes": ["a", "b", "c"]}, {"model": "a1"}, {"trainable": "full"}):
        assert key(**change) != key(), change


@pytest.mark.parametrize("change", [{"processor": "another"}, {"packages": {"tensorflow": "0.1"}}, {"cores": 1000}])
def test_another_machine_or_library_gives_another_key(code, change, monkeypatch):
    before = key()
    monkeypatch.setattr(costs, "environment", lambda: environment() | change)
    assert key() != before


def test_trials_of_one_kind_of_network_are_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    trials = [
        trial(f"t{number}", number, 0.5, 0.5, network=network, step_ms=10.0 * number)
        for number, network in enumerate(["one", "one", "other"], 1)
    ]
    for number, network in enumerate(["one", "other"], 1):
        values = {"parameters": 3, "flops": 10**9 * number, "latency_ms": 1.5, "peak_mib": 700.0}
        write_json(tmp_path / f".cache/sweeps/costs/{network}.json", values)
    found = costs.measure_trials(trials, tmp_path)
    assert [found[one.name].flops for one in trials] == [10**9, 10**9, 2 * 10**9]
    assert [found[one.name].step_ms for one in trials] == [10, 20, 30]


def test_one_network_of_each_kind_is_kept_until_it_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "classifier.json").write_text(name)
    costs.keep_network(tmp_path / "first", "one", tmp_path)
    costs.keep_network(tmp_path / "second", "one", tmp_path)
    assert [path.read_text() for path in tmp_path.glob("network-*/classifier.json")] == ["first"]
    write_json(tmp_path / ".cache/sweeps/costs/measured.json", {})
    costs.keep_network(tmp_path / "third", "measured", tmp_path)
    assert not (tmp_path / "network-measured").exists()


def test_a_network_that_cannot_be_measured_has_no_costs_but_its_step(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "network-broken").mkdir()
    one = trial("t", 1, 0.5, 0.5, network="broken", step_ms=4.0)
    assert costs.measure_trials([one], tmp_path) == {"t": costs.Cost(step_ms=4.0)}
    assert "could not measure the network of t" in capsys.readouterr().err
    assert not list(tmp_path.glob(".cache/sweeps/costs/*"))


def test_a_steps_time_is_the_median_of_the_epochs():
    assert costs.step_ms(pd.DataFrame({"examples_per_second": [100.0, 400.0, 800.0]}), 8) == 20


def test_only_known_costs_are_logged():
    assert costs.Cost(flops=7, latency_ms=2.0).metrics() == {"cost/flops": 7, "cost/latency_ms": 2.0}
