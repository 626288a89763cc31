# ruff: noqa: F811 (fixtures are imported by name)
"""The working copy is restored after a killed start of an experiment, and nothing is lost."""

from pathlib import Path

from pipeline.sweeping import workspace
from tests.sweeping.repository import repository, run_git  # noqa: F401


def caught_starting():
    """What DVC does while it starts an experiment, up to where it would restore the working copy."""
    workspace.record()
    run_git("stash", "push", "-q") if run_git("status", "--porcelain", "-uno") else None
    run_git("checkout", "-q", "--detach")
    if run_git("stash", "list"):
        run_git("stash", "apply", "-q")
    Path("params.yaml").write_text("seed: 2\n")
    run_git("add", "params.yaml")


def test_uncommitted_changes_and_branch_are_restored(repository):
    Path("README.md").write_text("mine\n")
    caught_starting()
    workspace.repair()
    assert run_git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert Path("README.md").read_text() == "mine\n"
    assert Path("params.yaml").read_text() == "seed: 1\n"
    assert run_git("status", "--porcelain") == "M README.md"
    assert len(run_git("stash", "list").splitlines()) == 1  # what lay there, kept to be safe
    workspace.repair()
    assert run_git("status", "--porcelain") == "M README.md"


def test_a_clean_copy_is_clean_again(repository):
    caught_starting()
    workspace.repair()
    assert run_git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert run_git("status", "--porcelain") == ""


def test_the_users_own_stash_is_left_alone(repository):
    Path("README.md").write_text("put away\n")
    run_git("stash", "push", "-q", "-m", "mine")
    workspace.record()
    workspace.repair()  # killed before DVC did anything
    assert "mine" in run_git("stash", "list") and run_git("status", "--porcelain") == ""


def test_after_a_successful_start_nothing_is_changed(repository):
    workspace.record()
    workspace.forget()
    run_git("checkout", "-q", "--detach")
    workspace.repair()
    assert run_git("rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
