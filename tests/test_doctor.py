"""The whole command in a copy of the repository, once as a user runs it; tests/checks/ covers each check."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from commands.doctor import main
from tests.test_params import composed

ROOT = Path(__file__).parent.parent
CHECKS = ["versions", "git", "gpu", "tracking", "params", "settings", "data", "weights", "memory", "disk", "time"]


def run_git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """A repository with one commit. Compiled modules are copied with their times, so that Python does not compile again."""
    folder = tmp_path_factory.mktemp("doctor") / "repository"
    folder.mkdir()
    for name in ("stages", "pipeline", "commands", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "data").mkdir()
    for name in ("dvc.yaml", "requirements.lock", "data/sample.zip"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(composed(), sort_keys=False))
    (folder / ".gitignore").write_text("__pycache__/\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        run_git(folder, *words)
    return folder


@pytest.fixture
def repository(committed) -> Iterator[Path]:
    """The same repository for every test; changes are reverted afterwards."""
    yield committed
    run_git(committed, "checkout", "-q", ".")
    run_git(committed, "clean", "-qfd")


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC", "PYTHONPATH"))}


def doctor(repository: Path, *options: str) -> tuple[int, str]:
    """Its exit status and what it prints, run in this process."""
    printed = io.StringIO()
    with (
        patch.dict(os.environ, environment(), clear=True),
        patch.object(sys, "argv", ["doctor", *options]),
        contextlib.chdir(repository),
        contextlib.redirect_stdout(printed),
    ):
        try:
            main()
        except SystemExit as ended:
            return ended.code, printed.getvalue()
    return 0, printed.getvalue()


def results(repository: Path) -> tuple[int, dict[str, list[dict]]]:
    code, printed = doctor(repository, "--json")
    by_check: dict[str, list[dict]] = {}
    for result in json.loads(printed):
        by_check.setdefault(result["check"], []).append(result)
    return code, by_check


def change(repository: Path, *overrides: str) -> None:
    (repository / "params.yaml").write_text(yaml.safe_dump(composed(*overrides), sort_keys=False))


def test_the_default_has_no_problem_and_nothing_is_changed(repository):
    before = sorted(path for path in repository.rglob("*") if "__pycache__" not in path.parts)
    code = (
        "import runpy, sys; sys.argv = ['doctor']\n"
        "runpy.run_module('commands.doctor', run_name='__main__')\n"
        "assert not {'tensorflow', 'mlflow'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repository, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert list(dict.fromkeys(words[1] for words in lines)) == CHECKS
    kinds = {words[1]: words[0] for words in lines}
    assert {kinds[name] for name in ("git", "tracking", "params", "settings", "data", "weights")} == {"ok"}
    assert "problem" not in kinds.values()
    assert sorted(path for path in repository.rglob("*") if "__pycache__" not in path.parts) == before


def test_problems_are_listed_together_and_end_with_status_one(repository):
    change(repository, "data=folder", "model=a1", "finetune.precision=mixed_bfloat16", "model.weights=/no/such.tar.gz")
    (repository / "stages/mine.py").write_text("")
    code, found = results(repository)
    assert code == 1
    statuses = {name: [result["status"] for result in items] for name, items in found.items()}
    assert statuses["settings"] == statuses["data"] == statuses["weights"] == ["problem"]
    assert statuses["git"] == statuses["params"] == ["warning"]
    assert "finetune.precision = mixed_bfloat16" in found["settings"][0]["message"]
    assert "SET-data.folder-TO-YOUR-VIDEOS" in found["data"][0]["message"]
    assert "/no/such.tar.gz" in found["weights"][0]["message"]
    assert all("\n" not in result["message"] + result["advice"] for items in found.values() for result in items)
    assert "disk" not in found and "time" not in found  # they follow from the clips


def test_warnings_do_not_fail_and_quiet_shows_only_them(repository):
    change(repository, "finetune.epochs=2")
    code, printed = doctor(repository, "--quiet")
    assert code == 0
    first, second, *rest = printed.splitlines()
    assert first.split()[:2] == ["warning", "params"] and "finetune.epochs = 2 (conf/: 18)" in first
    assert second.split()[0] == "->" and "`dvc repro` runs it as it is" in second
    assert not [line for line in rest if line.startswith("ok")]


def test_settings_that_the_model_does_not_support_are_a_problem_of_params(repository):
    change(repository, "model=a1", "finetune=last_blocks", "finetune.blocks=99")
    code, found = results(repository)
    assert code == 1 and list(found) == ["versions", "git", "gpu", "tracking", "params"]
    assert found["params"][0]["status"] == "problem" and "finetune.blocks = 99" in found["params"][0]["message"]


def test_values_that_do_not_fit_the_schema_are_one_problem(repository):
    text = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(text.replace("learning_rate: 0.003", "learning_rate: fast"))
    code, found = results(repository)
    assert code == 1 and list(found) == ["versions", "git", "gpu", "tracking", "params"]
    assert found["params"][0]["status"] == "problem" and "finetune.learning_rate = 'fast'" in found["params"][0]["message"]


def test_two_values_that_do_not_fit_the_schema_are_both_the_message(repository):
    text = (repository / "params.yaml").read_text()
    text = text.replace("learning_rate: 0.003", "learning_rate: fast").replace("batch_size: 12", "batch_size: none")
    (repository / "params.yaml").write_text(text)
    _, found = results(repository)
    assert "finetune.learning_rate = 'fast'" in found["params"][0]["message"]
    assert "finetune.batch_size = 'none'" in found["params"][0]["message"] and found["params"][0]["advice"] == ""


def test_a_run_of_days_is_a_warning(repository):
    change(repository, "model=a5", "finetune=full", "finetune.epochs=5000", "frames.count=120")
    _, found = results(repository)
    assert found["time"][0]["status"] == "warning" and " days from extract to report" in found["time"][0]["message"]
    assert found["memory"][0]["status"] in ("warning", "problem")
