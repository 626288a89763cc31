"""A measured cost is kept for as long as nothing that decides it changes."""

from pathlib import Path

import pytest

from pipeline.artifacts import ClassifierDescription
from pipeline.files import write_json
from pipeline.sweeping import costs
from pipeline.tracking.environment import environment
from tests.sweeping.repository import repository, run_git  # noqa: F401
from tests.test_params import ROOT

DESCRIPTION = ClassifierDescription(
    classes=["a", "b"], model="a0", activation="swish", trainable="head", best_epoch=3, fps=5.0, size=64, count=8, views=2
)


@pytest.fixture
def code(repository) -> Path:  # noqa: F811
    """A repository with a file in each place that decides a cost, committed."""
    for path in (*costs.MAKING, *map(str, costs.MEASURING), "pipeline/reporting/page.py"):
        file = repository / path if path.endswith(".py") else repository / path / "one.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
    return repository


def changed(**values) -> ClassifierDescription:
    return DESCRIPTION.model_copy(update=values)


def commit() -> str:
    run_git("add", ".")
    run_git("commit", "-q", "--allow-empty", "-m", "code")
    return run_git("rev-parse", "HEAD")


def test_the_places_are_there():
    for path in (*costs.MAKING, *costs.MEASURING):
        assert (ROOT / path).exists()


@pytest.mark.parametrize("path", ["pipeline/models/one.py", "pipeline/training/one.py", "stages/embed.py", "stages/finetune.py"])
def test_code_that_makes_a_network_makes_another_cost(code, path):
    before = costs._key(DESCRIPTION, commit())
    (code / path).write_text("2")
    assert costs._key(DESCRIPTION, commit()) != before


def test_code_that_measures_makes_another_cost_before_it_is_committed(code):
    made = commit()
    before = costs._key(DESCRIPTION, made)
    for path in ("pipeline/models/one.py", "pipeline/sweeping/measuring.py"):
        (code / path).write_text(f"changed {path}")
        after = costs._key(DESCRIPTION, made)
        assert after != before
        before = after


def test_other_code_and_values_share_a_measurement(code):
    before = costs._key(DESCRIPTION, commit())
    (code / "pipeline/reporting/page.py").write_text("2")
    assert costs._key(changed(best_epoch=9, classes=["c", "d"]), commit()) == before


@pytest.mark.parametrize(
    "change", [{"size": 128}, {"model": "a1"}, {"views": 3}, {"classes": ["a", "b", "c"]}, {"trainable": "full"}]
)
def test_another_network_has_another_cost(code, change):
    made = commit()
    assert costs._key(changed(**change), made) != costs._key(DESCRIPTION, made)


@pytest.mark.parametrize("change", [{"processor": "another"}, {"packages": {"tensorflow": "0.1"}}, {"cores": 1000}])
def test_another_machine_or_library_has_another_cost(code, change, monkeypatch):
    made = commit()
    before = costs._key(DESCRIPTION, made)
    monkeypatch.setattr(costs, "environment", lambda: environment() | change)
    assert costs._key(DESCRIPTION, made) != before


def test_what_was_measured_is_not_measured_again(code):
    made = commit()
    write_json(costs.STORE / f"{costs._key(DESCRIPTION, made)}.json", {"flops": 7})

    class Files:
        def read_text(self, path):
            return DESCRIPTION.model_dump_json()

    assert costs._network_cost(Files(), made) == {"flops": 7}
