"""dvc.yaml names all the code that can change what a stage makes, and none that cannot."""

from pathlib import Path

import pytest
import yaml

from pipeline.tracking.classifiers import DECODER
from tests.imports import ROOT, closure, modules

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# What a stage imports and its outputs do not depend on: what it says and how; how files are written, whatever is in them; the
# schema of parameters, whose values DVC compares; where work is done; the tracking of runs, which notes results as they are.
NEUTRAL = ("console", "stderr_filter", "processes", "files", "params", "arguments", "artifacts", "cluster", "tracking")
# What a stage copies into its outputs without importing it: a registered model carries what decodes videos.
COPIED = {
    "finetune": {
        "pipeline/tracking/registered_model.py",
        *(f"pipeline/{name}" for name in DECODER if not name.endswith(("__init__.py", "console.py"))),
    }
}


def is_neutral(module: str) -> bool:
    return module.startswith("pipeline.") and module.split(".")[1] in NEUTRAL


def has_code(path: Path) -> bool:
    """Not a package's face with a docstring alone."""
    return path.name != "__init__.py" or path.read_text().count("\n") > 1


def deciding(stage: str) -> set[str]:
    """Paths of the files whose code decides what a stage makes."""
    paths = {modules()[name] for name in closure(f"stages.{stage}") if not is_neutral(name)}
    return {path.relative_to(ROOT).as_posix() for path in paths if has_code(path)} | COPIED.get(stage, set())


def listed(stage: str) -> set[str]:
    """Paths of the code that dvc.yaml names for a stage, folders opened."""
    found = set()
    for dep in STAGES[stage]["deps"]:
        if dep.startswith(("stages/", "pipeline/")):
            path = ROOT / dep
            files = path.rglob("*.py") if path.is_dir() else [path]
            found |= {file.relative_to(ROOT).as_posix() for file in files if has_code(file)}
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_code_that_decides(stage):
    assert sorted(deciding(stage) - listed(stage)) == [], "missing: a change of it would not run the stage again"
    assert sorted(listed(stage) - deciding(stage)) == [], "listed, but it cannot change the stage's outputs"


def test_imports_inside_functions_count():
    assert "pipeline.video.records" in closure("stages.extract"), "imported by a function"
    assert "pipeline.models.movinet.build" in closure("stages.embed")
    assert not closure("stages.report") & {"pipeline.models.movinet.build", "pipeline.training.loop"}
