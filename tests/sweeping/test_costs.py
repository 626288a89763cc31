"""A measured cost is used again for as long as nothing that decides it changes."""

from pathlib import Path

import pytest
import yaml

from pipeline.artifacts import ClassifierDescription
from pipeline.files import write_json
from pipeline.sweeping import costs
from pipeline.tracking.environment import environment
from tests.sweeping.repository import repository, run_git  # noqa: F401
from tests.test_params import ROOT

DESCRIPTION = ClassifierDescription(
    classes=["a", "b"], model="a0", activation="swish", trainable="head", best_epoch=3, fps=5.0, size=64, count=8, views=2
)


def commit(**changed) -> str:
    """A commit whose dvc.lock has the code of embed and finetune; changed: digests of other files by path."""
    code = {"stages/embed.py": "1", "stages/finetune.py": "1", "numeric.lock": "1", "pipeline/training": "1"} | changed
    deps = [{"path": path, "md5": digest} for path, digest in code.items()]
    stages = {stage: {"deps": [*deps, {"path": "data/frames", "md5": stage}]} for stage in ("embed", "finetune", "report")}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
    run_git("add", ".")
    run_git("commit", "-q", "--allow-empty", "-m", "code")
    return run_git("rev-parse", "HEAD")


@pytest.fixture
def code(repository) -> Path:  # noqa: F811
    """A repository with the code that measures."""
    for path in costs.MEASURED_BY:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    return repository


def test_the_code_that_measures_exists():
    assert all((ROOT / path).exists() for path in costs.MEASURED_BY)


@pytest.mark.parametrize("path", ["stages/embed.py", "stages/finetune.py", "pipeline/training", "numeric.lock"])
def test_code_that_makes_a_network_gives_another_key(code, path):
    before = costs._key(DESCRIPTION, commit())
    assert costs._key(DESCRIPTION, commit(**{path: "2"})) != before


def test_code_that_measures_gives_another_key_before_it_is_committed(code):
    made = commit()
    keys = {costs._key(DESCRIPTION, made)}
    for path in costs.MEASURED_BY:
        path.write_text(f"changed {path}")
        keys.add(costs._key(DESCRIPTION, made))
    assert len(keys) == 3


def test_other_data_code_and_values_share_a_measurement(code):
    before = costs._key(DESCRIPTION, commit())
    description = DESCRIPTION.model_copy(update={"best_epoch": 9, "classes": ["c", "d"]})
    assert costs._key(description, commit(**{"data/frames": "2"})) == before


@pytest.mark.parametrize(
    "change", [{"size": 128}, {"model": "a1"}, {"views": 3}, {"classes": ["a", "b", "c"]}, {"trainable": "full"}]
)
def test_another_network_gives_another_key(code, change):
    made = commit()
    assert costs._key(DESCRIPTION.model_copy(update=change), made) != costs._key(DESCRIPTION, made)


@pytest.mark.parametrize("change", [{"processor": "another"}, {"packages": {"tensorflow": "0.1"}}, {"cores": 1000}])
def test_another_machine_or_library_gives_another_key(code, change, monkeypatch):
    made = commit()
    before = costs._key(DESCRIPTION, made)
    monkeypatch.setattr(costs, "environment", lambda: environment() | change)
    assert costs._key(DESCRIPTION, made) != before


def test_what_was_measured_is_not_measured_again(code):
    made = commit()
    write_json(costs.CACHE / f"{costs._key(DESCRIPTION, made)}.json", {"flops": 7})

    class Files:
        def read_text(self, path):
            return DESCRIPTION.model_dump_json()

    assert costs._network_cost(Files(), made) == {"flops": 7}
