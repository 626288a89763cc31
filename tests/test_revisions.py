"""Files of a commit, at the root of a repository and in a sub-folder; the list of experiments."""

from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.revisions import Experiment, list_experiments, open_files, params_text, sub_folder
from tests.sweeping.repository import repository, run_git  # noqa: F401


@pytest.mark.parametrize("folder", [".", "video/model"])
def test_files_of_a_commit_are_read_from_git_and_from_dvc(repository, monkeypatch, folder):
    place = repository / folder
    (place / "results").mkdir(parents=True)
    monkeypatch.chdir(place)
    (place / "results/kept.txt").write_text("of DVC")
    (place / "params.yaml").write_text("seed: 71\n")
    with Repo.init(str(place), subdir=folder != ".") as repo:
        repo.add("results/kept.txt")
    run_git("add", "-A")
    run_git("commit", "-q", "-m", "second")
    commit = run_git("rev-parse", "HEAD")
    (place / "results/kept.txt").unlink()
    (place / "params.yaml").unlink()
    assert sub_folder() == Path(folder)
    files = open_files(commit)
    assert files.read_text("results/kept.txt") == "of DVC"
    assert files.read_text("params.yaml") == params_text(commit) + "\n" == "seed: 71\n"
    files.get("results", str(place / "copy"), recursive=True)
    assert (place / "copy/kept.txt").read_text() == "of DVC"
    assert files.exists("results/kept.txt") and not files.exists("results/absent.txt")


def test_experiments_are_those_of_all_commits(repository):
    base = run_git("rev-parse", "HEAD")
    run_git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/tall-boat", base)
    run_git("update-ref", "refs/exps/exec/EXEC_BASELINE", base)  # DVC's own
    assert list_experiments() == [Experiment("tall-boat", base, base)]
