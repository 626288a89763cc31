"""A git repository with a commit, as the current directory."""

import subprocess

import pytest


def run_git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    run_git("init", "-q", "-b", "main")
    run_git("config", "user.name", "Test")
    run_git("config", "user.email", "test@example.org")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/code.py").write_text("one = 1\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "README.md").write_text("text\n")
    (tmp_path / ".gitignore").write_text(".cache/\n")
    run_git("add", ".")
    run_git("commit", "-q", "-m", "first")
    return tmp_path
