import subprocess
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.git import GitError, experiment_errors, query_git, repository_error, run_git


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder in no repository, for a user without settings of git."""
    for role in ("AUTHOR", "COMMITTER"):
        for key in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{role}_{key}", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit(folder: Path = Path()) -> None:
    folder.mkdir(exist_ok=True)
    run_git("init", "-q", folder=folder)
    run_git("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "one", "--allow-empty", folder=folder)


def set_identity() -> None:
    run_git("config", "user.name", "a")
    run_git("config", "user.email", "a@b.c")


def kinds() -> list[str]:
    return [error.kind for error in experiment_errors()]


def test_a_usable_repository_has_no_errors():
    commit()
    set_identity()
    assert repository_error() is None and experiment_errors() == []
    assert query_git("rev-parse", "--verify", "--quiet", "absent") is None


def test_a_folder_in_no_repository():
    error = repository_error()
    assert error.kind == "repository" and "git init" in error.advice


def test_a_repository_that_git_cannot_read_is_not_to_be_made_again():
    commit()
    Path(".git/HEAD").unlink()
    error = repository_error()
    assert error.kind == "damaged" and "git init" not in str(error)


def test_another_users_repository(folder, monkeypatch):
    commit()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    error = repository_error()
    assert error.kind == "owner" and error.advice.endswith(f"git config --global --add safe.directory '{folder}'")


def test_a_machine_without_git(monkeypatch):
    commit()
    monkeypatch.setenv("PATH", str(Path("empty").absolute()))
    error = repository_error()
    assert error.kind == "program" and "install it" in error.advice
    with pytest.raises(UserError, match="git: not found"):
        run_git("status")


def test_a_repository_without_a_commit():
    run_git("init", "-q")
    error = repository_error()
    assert error.kind == "commit" and error.advice == "git add . and git commit"


def test_another_failure_is_in_gits_own_words():
    commit()
    Path(".git/config").write_text("no settings")
    error = repository_error()
    assert error.kind == "other" and "bad config" in error.message
    with pytest.raises(GitError, match="git status: fatal: bad config"):
        run_git("status")


def test_a_shallow_clone(folder, monkeypatch):
    commit(folder / "whole")
    for depth in ([], ["--depth", "1"]):
        clone = folder / f"clone{len(depth)}"
        subprocess.run(["git", "clone", "-q", *depth, (folder / "whole").as_uri(), clone], check=True)
        monkeypatch.chdir(clone)
        set_identity()
        assert kinds() == (["shallow"] if depth else [])
    assert experiment_errors()[0].advice == "git fetch --unshallow"


def test_an_identity_is_a_name_and_an_address_of_author_and_committer(monkeypatch):
    commit()
    assert kinds() == ["identity"]
    for role in ("AUTHOR", "COMMITTER"):
        assert kinds() == ["identity"]
        monkeypatch.setenv(f"GIT_{role}_NAME", "a")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "a@b.c")
    assert kinds() == []
    monkeypatch.delenv("GIT_COMMITTER_EMAIL")
    assert kinds() == ["identity"]
    run_git("config", "user.email", "a@b.c")  # DVC's library takes both from the settings, or neither
    assert kinds() == ["identity"]
    run_git("config", "user.name", "a")
    assert kinds() == []


def test_a_sub_folder_of_a_repository(monkeypatch):
    commit()
    set_identity()
    Path("video/model").mkdir(parents=True)
    monkeypatch.chdir("video/model")
    assert repository_error() is None and kinds() == []
