"""What a name stands for, in a repository with a branch, a tag and experiments' references."""

import pytest

from pipeline.comparison.names import locate, locate_all
from pipeline.console import UserError
from tests.comparison.models import write_model
from tests.sweeping.repository import repository, run_git  # noqa: F401


@pytest.fixture(autouse=True)
def no_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def commit(message: str) -> str:
    run_git("commit", "-q", "--allow-empty", "-m", message)
    return run_git("rev-parse", "HEAD")


def add_experiment(name: str, base: str) -> str:
    """A commit under the reference by which DVC names an experiment of `base`."""
    made = run_git("commit-tree", "-m", name, "-p", base, f"{base}^{{tree}}")
    run_git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", made)
    return made


def test_the_present_results(repository):  # noqa: F811
    with pytest.raises(UserError, match=r"workspace: there is no results/predictions.csv in"):
        locate("workspace")
    write_model(repository / "results")
    assert locate("workspace")[:4] == ("workspace", "folder", str(repository), "workspace")


def test_a_folder_in_either_layout(repository):  # noqa: F811
    write_model(repository / "flat")
    write_model(repository / "whole/results")
    for name in ("flat", "whole", "./flat", "folder:whole", str(repository / "flat")):
        located = locate(name)
        assert located.kind == "folder" and located.given == name
        assert located.address == str(repository / located.label) and located.label in ("flat", "whole")


def test_branches_tags_and_commits(repository):  # noqa: F811
    head = run_git("rev-parse", "HEAD")
    run_git("branch", "baseline")
    run_git("tag", "-m", "released", "v1")
    for name, read_as in (
        ("baseline", f"git branch at {head[:7]}"),
        ("v1", f"git tag at {head[:7]}"),
        (head, f"git commit {head[:7]}"),
        (head[:9], f"git commit {head[:7]}"),
        ("git:HEAD~0", f"git commit {head[:7]}"),
    ):
        assert locate(name)[1:3] == ("revision", head) and locate(name).read_as == read_as


def test_an_experiment_of_the_current_commit_comes_first(repository):  # noqa: F811
    old = run_git("rev-parse", "HEAD")
    elsewhere = add_experiment("wide", old)
    current = commit("second")
    assert locate("wide")[1:] == ("experiment", elsewhere, "wide", f"DVC experiment on {old[:7]}")
    here = add_experiment("wide", current)
    assert locate("wide").address == locate("exp:wide").address == here
    commit("third")
    with pytest.raises(UserError, match="wide: ambiguous") as error:
        locate("wide")
    for number in (elsewhere, here):
        assert f"git:{number[:10]}" in error.value.advice
        assert locate(f"git:{number[:10]}").address == number


def test_a_name_of_two_kinds_is_refused_and_a_prefix_chooses(repository):  # noqa: F811
    head = run_git("rev-parse", "HEAD")
    made = add_experiment("wide", head)
    run_git("branch", "wide")
    write_model(repository / "wide")
    with pytest.raises(UserError, match="wide: ambiguous") as error:
        locate("wide")
    assert "folder:wide (folder " in error.value.advice and "exp:wide (DVC experiment on" in error.value.advice
    assert "git:wide (git branch at" in error.value.advice
    assert [locate(f"{prefix}:wide").address for prefix in ("folder", "exp", "git")] == [str(repository / "wide"), made, head]


def test_an_unknown_name_says_what_was_looked_for(repository, tmp_path, monkeypatch):  # noqa: F811
    with pytest.raises(UserError, match="nowhere: not found") as error:
        locate("nowhere")
    assert "a folder that holds predictions.csv; a DVC experiment, a commit, branch or tag of git" in error.value.advice
    assert "no MLflow run, as there is no mlflow.db" in error.value.advice
    (repository / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds neither predictions.csv nor results/predictions.csv"):
        locate("empty")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(outside.parent))
    with pytest.raises(UserError, match="is in no git repository"):
        locate("nowhere")


def test_the_same_model_twice_is_refused(repository):  # noqa: F811
    write_model(repository / "one")
    with pytest.raises(UserError, match=r"one and ./one are the same: folder"):
        locate_all(["one", "./one"])
    run_git("branch", "side")
    with pytest.raises(UserError, match="HEAD and side are the same"):
        locate_all(["HEAD", "side"])


def test_equal_labels_give_way_to_what_was_given(repository):  # noqa: F811
    for name in ("first/run", "second/run", "other"):
        write_model(repository / name)
    assert [one.label for one in locate_all(["first/run", "second/run", "other"])] == ["first/run", "second/run", "other"]
