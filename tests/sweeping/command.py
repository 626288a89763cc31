"""A sweep as a user runs it, in a repository of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    dropped = ("MLFLOW", "DVC", "MOVINET", "GIT_", "PYTHONPATH", "HYDRA")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run_in(folder, *command) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def sweep_repository(tmp_path_factory, request) -> Path:
    """The files of this tree that git has or would have, committed in a new repository, and a change of README.md.

    They are in the sub-folder SUB_FOLDER of the repository, if the test's module has that constant, else at its root.
    """
    root = tmp_path_factory.mktemp("sweep") / "repository"
    folder = root / getattr(request.module, "SUB_FOLDER", "")
    listed = run_in(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in listed:
        if name and (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run_in(root, "git", "init", "-q", "-b", "main")
    run_in(folder, "git", "config", "user.name", "Test")
    run_in(folder, "git", "config", "user.email", "test@example.org")
    run_in(folder, "git", "add", "-A")
    run_in(folder, "git", "commit", "-q", "-m", "all")
    (folder / "README.md").write_text("a change that is not committed\n")
    return folder


class SweepCommand:
    """`python -m commands.sweep` with overrides; `key` is swept, and sweep.name is `name`."""

    def __init__(self, folder: Path, name: str, key: str, *overrides: str):
        self.folder, self.name, self.key = folder, name, key
        self.overrides = (*overrides, f"sweep.name={name}")

    def start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "commands.sweep", *self.overrides]
        options = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.folder, env=environment(), **options)

    def records(self) -> dict[str, dict]:
        """The record of each trial, by its value of the swept key."""
        paths = sorted(self.folder.glob(f"logs/sweeps/{self.name}/{self.name}-*.json"))
        return {record["overrides"][self.key]: record for record in (json.loads(path.read_text()) for path in paths)}

    def log(self, value: str) -> str:
        (path,) = self.folder.glob(f"logs/sweeps/{self.name}/{self.name}-{value.replace('.', '_')}-*.log")
        return path.read_text()
