"""dvc.yaml names all the code that can change what a stage makes, and none that cannot."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from hydra_plugins.local_path import UNCHANGING
from pipeline.models.family import FAMILIES
from pipeline.tracking.classifiers import DECODER
from tests.imports import ROOT, closure, modules

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# What a stage imports and its outputs do not depend on: what it says and how; how files are written, whatever is in them; the
# schema of parameters, whose values DVC compares; where work is done; the tracking of runs, which notes results as they are; and
# the table of what a model family offers, which calls the family.
NEUTRAL = (
    "console",
    "stderr_filter",
    "processes",
    "files",
    "params",
    "settings",
    "arguments",
    "artifacts",
    "cluster",
    "tracking",
)
NEUTRAL += ("check_results", "models.family")
# What a stage copies into its outputs without importing it: a registered model carries what decodes videos.
COPIED = {
    "finetune": {
        "pipeline/tracking/registered_model.py",
        *(f"pipeline/{name}" for name in DECODER if not name.endswith(("__init__.py", "console.py"))),
    }
}


def is_neutral(module: str) -> bool:
    return any(module == f"pipeline.{name}" or module.startswith(f"pipeline.{name}.") for name in NEUTRAL)


def has_code(path: Path) -> bool:
    """Not a package's face with a docstring alone."""
    return path.name != "__init__.py" or len(ast.parse(path.read_text()).body) > 1


def deciding(stage: str, family: str) -> set[str]:
    """Paths of the files whose code decides what a stage makes of a family's model. A family's `network` counts as one."""
    network = f"pipeline.models.{family}.network."
    names = closure(f"stages.{stage}", family, through=lambda name: not is_neutral(name))
    if any(name.startswith(network) for name in names):
        for part in [name for name in modules() if name.startswith(network)]:
            names |= closure(part, family, through=lambda name: not is_neutral(name))
    paths = {modules()[name] for name in names if not is_neutral(name)}
    return {path.relative_to(ROOT).as_posix() for path in paths if has_code(path)} | COPIED.get(stage, set())


def listed(stage: str, family: str) -> set[str]:
    """Paths of the code that dvc.yaml names for a stage, folders opened."""
    found = set()
    for dep in STAGES[stage]["deps"]:
        path = ROOT / dep.replace("${model.family}", family)
        if path.is_relative_to(ROOT / "stages") or path.is_relative_to(ROOT / "pipeline"):
            assert path.exists(), f"{path}: DVC would stop here"
            files = path.rglob("*.py") if path.is_dir() else [path]
            found |= {file.relative_to(ROOT).as_posix() for file in files if has_code(file)}
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", STAGES)
def test_no_code_that_decides_is_missing(stage, family):
    assert sorted(deciding(stage, family) - listed(stage, family)) == [], "a change of it would not run the stage again"


@pytest.mark.parametrize("stage", STAGES)
def test_no_code_is_listed_that_cannot_decide(stage):
    """Whatever the family: what only some of them use is listed for all, as dvc.yaml has one line for it."""

    def unused(family: str) -> set[str]:
        return {path.replace(f"/{family}/", "/<family>/") for path in listed(stage, family) - deciding(stage, family)}

    assert sorted(set.intersection(*map(unused, FAMILIES))) == []


def test_imports_inside_functions_count():
    assert "pipeline.video.records" in closure("stages.extract"), "imported by a function"
    assert "pipeline.models.movinet.network.build" in closure("stages.embed", "movinet")
    assert not closure("stages.report") & {"pipeline.models.movinet.network.build", "pipeline.training.loop"}


def test_what_cannot_change_features_does_not_run_the_backbone_again():
    assert not {path for path in listed("embed", "movinet") if re.search(r"stream|arithmetic|random_layers|training/loop", path)}


def test_every_stage_that_computes_depends_on_the_versions_of_what_computes():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = [line.removesuffix(" \\") for line in lines if re.match(r"[a-z]", line)]
    numeric = (ROOT / "numeric.lock").read_text().splitlines()
    assert numeric == [line for line in pinned if line.partition("==")[0] in {one.partition("==")[0] for one in numeric}]
    assert {one.partition("==")[0] for one in numeric} >= {"tensorflow", "tf-keras", "numpy", "av"}
    assert [stage for stage in STAGES if "numeric.lock" not in STAGES[stage]["deps"]] == ["report"]


def test_where_no_weights_can_be_watched_nothing_is_added_to_the_dependencies():
    watching = [one["deps"] for one in STAGES.values() if "${model.watch}" in one["deps"]]
    assert len(watching) == 2 and all(UNCHANGING in deps for deps in watching)


@pytest.mark.parametrize("section", ["speed", "cluster"])
def test_no_stage_depends_on_what_decides_only_speed(section):
    assert not [stage for stage, one in STAGES.items() if any(str(name).split(".")[0] == section for name in one["params"])]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_restored(stage):
    """DVC keeps no run of a stage that has an uncached output, unless that is a metric or a plot."""
    assert not [out for out in STAGES[stage]["outs"] if isinstance(out, dict) and not next(iter(out.values())).get("cache", True)]
