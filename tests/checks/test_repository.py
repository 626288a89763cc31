import re
import subprocess
from pathlib import Path

import yaml

from pipeline.checks.repository import check_git, check_params, in_git, is_made
from tests.checks.conftest import write_params


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], check=True, capture_output=True)


def commit() -> None:
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")


def test_a_folder_outside_git_is_a_problem():
    (found,) = check_git()
    assert found.status == "problem" and "not a git repository" in found.message


def test_what_stops_only_experiments_is_a_warning(conf, workspace, monkeypatch):
    commit()
    for name in ("user.name", "user.email"):
        git("config", name, "a")
    (found,) = check_git()
    assert found.status == "ok"
    with monkeypatch.context() as patch:
        patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        (found,) = check_git()
        assert found.status == "warning" and "`dvc repro` runs, but no run records its commit" in found.message
        assert "safe.directory" in found.advice and "git init" not in found.advice
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        (found,) = check_git()
        assert found.status == "warning" and found.message.startswith("git: not found; `dvc repro` runs without it")
    clone = workspace.parent / "clone"
    git("clone", "-q", "--depth", "1", workspace.as_uri(), str(clone))
    monkeypatch.chdir(clone)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    shallow, identity = check_git()
    assert shallow.status == identity.status == "warning"
    assert shallow.advice == "git fetch --unshallow" and "user.email" in identity.advice
    Path(".git/HEAD").unlink()
    (found,) = check_git()
    assert found.status == "problem" and "git init" not in found.advice


def test_a_repository_without_a_commit_is_a_warning():
    git("init", "-q")
    (found,) = check_git()
    assert found.status == "warning" and "no commit yet" in found.message


def test_changed_and_untracked_files_are_named(conf):
    Path("stages").mkdir()
    Path("stages/download.py").write_text("1")
    Path("dvc.yaml").write_text("stages: {}")
    commit()
    (found,) = check_git()
    assert found.status == "ok"
    Path("README.md").write_text("of no concern")
    Path("stages/download.py").write_text("2")
    Path("stages/mine.py").write_text("1")
    unknown, changed = check_git()
    assert unknown.status == changed.status == "warning"
    assert "not in git: stages/mine.py. `dvc exp run --temp` and `--queue` run without them" in unknown.message
    assert "changed since the last commit: stages/download.py." in changed.message
    assert in_git("stages") and in_git("stages/download.py") and not in_git("stages/mine.py")


def test_the_composed_default_is_ok(conf):
    assert check_params(write_params()).status == "ok"


def test_differences_are_named_with_both_values(conf):
    found = check_params(write_params(finetune__learning_rate=0.5, frames__size=65))
    assert found.status == "warning"
    assert "finetune.learning_rate = 0.5 (conf/: 0.003)" in found.message
    assert "frames.size = 65 (conf/: 64)" in found.message
    assert "`dvc repro` runs it as it is; `dvc exp run` composes it from conf/ again" in found.advice


def test_of_many_differences_the_first_are_named(conf):
    found = check_params(write_params("data=ucf101_subset"))
    assert found.message.count("(conf/: ") == 8 and re.search(r" and \d+ more$", found.message)


def test_a_mirror_is_one_value(conf):
    found = check_params(write_params(data__flip={"Left": "Up", "Up": "Left"}))
    assert 'data.flip = {"Left": "Up", "Up": "Left"} (conf/: {"Left": "Right"' in found.message


def test_a_broken_configuration_is_a_problem(conf):
    content = write_params()
    (conf / "config.yaml").write_text("defaults: [model: a9]")
    found = check_params(content)
    assert found.status == "problem" and "conf/ cannot be composed" in found.message


def lock(content: dict, **outs: str) -> None:
    params = {"seed": content["seed"], "data.archive": content["data"]["archive"], "data.split": content["data"]["split"]}
    record = {"params": {"params.yaml": params}, "outs": [{"path": path, "md5": md5} for path, md5 in outs.items()]}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"download": record}}))


def test_a_stage_is_made_when_its_parameters_are_the_same_and_its_outputs_exist():
    content = write_params()
    assert not is_made("download", content)
    Path(".dvc").mkdir()
    lock(content, clips="abcdef.dir")
    assert not is_made("download", content)
    Path("clips").mkdir()
    assert is_made("download", content)
    assert not is_made("embed", content)
    assert not is_made("download", {**content, "seed": 2})
    Path("clips").rmdir()
    cached = Path(".dvc/cache/files/md5/ab/cdef.dir")
    cached.parent.mkdir(parents=True)
    cached.write_text("[]")
    assert is_made("download", content)
