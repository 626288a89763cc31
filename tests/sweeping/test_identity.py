# ruff: noqa: F811 (fixtures are imported by name)
"""Equal trials have equal names and others do not; stages are shared up to the first that differs."""

import os
import re
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sweeping.identity import code_state, files_state, stage_keys, trial_name
from tests.sweeping.repository import repository, run_git  # noqa: F401
from tests.test_params import ROOT, composed


def name(overrides, state=("commit",), swept=("finetune.learning_rate",)):
    given = dict(text.split("=", 1) for text in overrides)
    return trial_name("lr", list(swept), given, list(state), composed(*overrides))


def test_a_name_follows_from_parameters_code_and_data():
    one = name(["finetune.learning_rate=0.001"])
    assert one == name(["finetune.learning_rate=1e-3"]) == name(["finetune.learning_rate=0.001", "seed=1"])
    assert one != name(["finetune.learning_rate=0.001", "seed=2"])
    assert one != name(["finetune.learning_rate=0.001"], state=("other",))
    assert one.startswith("lr-0_001-")


def test_a_name_is_valid_for_git_and_files():
    awkward = ["data.folder='/a b/c..d'", "data=folder", "finetune.learning_rate=0.00012345678901234567"]
    made = name(awkward, swept=("data.folder", "finetune.learning_rate"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,90}", made)
    assert "0_000123-" in made


def test_code_is_identified_by_commit_and_changes(repository):
    before = code_state()
    Path("README.md").write_text("other\n")
    assert code_state() == before
    Path("stages/code.py").write_text("one = 2\n")
    changed = code_state()
    assert changed != before
    Path("stages/code.py").write_text("one = 1\n")
    assert code_state() == before
    run_git("commit", "-q", "--allow-empty", "-m", "second")
    assert code_state()[0] != before[0]


def test_code_that_git_does_not_know_is_named(repository):
    Path("stages/new.py").write_text("")
    with pytest.raises(UserError, match=r"stages/new\.py: not in git"):
        code_state()


def test_data_and_weights_are_identified_by_their_files(tmp_path):
    (tmp_path / "videos").mkdir()
    clip = tmp_path / "videos/clip.avi"
    clip.write_bytes(b"1234")
    data = {"watch": str(tmp_path / "videos"), "archive": "https://example.org/a.zip", "folder": None, "listing": None}
    content = {"data": data, "model": {"watch": str(tmp_path / "weights")}}
    before = files_state(content)
    assert before == files_state(content)
    os.utime(clip, (1, 1))
    assert files_state(content) != before
    data["watch"] = str(clip)  # a file is identified by its content, whatever its time
    before = files_state(content)
    os.utime(clip, (2, 2))
    assert files_state(content) == before
    clip.write_bytes(b"1235")
    assert files_state(content) != before
    before = files_state(content)
    (tmp_path / "weights").write_bytes(b"1")
    assert files_state(content) != before


def test_stages_are_shared_up_to_the_first_that_differs():
    def keys(*overrides):
        return stage_keys(composed("data=ucf101_subset", *overrides), ["state"], ROOT / "dvc.yaml")

    def same(one, other):
        return {stage for stage in one if one[stage] == other[stage]}

    base = keys()
    assert list(base)[:5] == ["download", "extract", "embed", "finetune", "evaluate"]
    assert same(base, keys("finetune.learning_rate=0.5")) >= {"download", "extract", "embed"}
    assert not same(base, keys("finetune.learning_rate=0.5")) & {"finetune", "evaluate", "report"}
    assert same(base, keys("model=a1")) == {"download", "extract"}  # of one resolution and frame rate
    assert same(base, keys("model=a2")) == {"download"}
    assert not same(base, keys("seed=2"))
    assert same(base, keys("report.confused_pairs=3")) >= {"finetune", "evaluate"}
