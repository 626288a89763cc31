"""Puts the working copy back where a kill caught DVC starting an experiment.

For the second or two in which DVC composes an experiment, the branch is detached and the user's uncommitted changes are in git's
stash. An interrupt lets DVC undo that; SIGKILL or a power cut does not. So the state is recorded beforehand.
"""

from pathlib import Path

from pipeline.console import say
from pipeline.files import read_json, write_json
from pipeline.git import query_git, run_git

RECORD = Path(".cache/sweeps/starting.json")


def record() -> None:
    """Records the state; called before DVC starts an experiment."""
    write_json(RECORD, {"branch": _branch(), "commit": run_git("rev-parse", "HEAD"), "stash": _stash(), "changes": _changes()})


def forget() -> None:
    """The experiment has started, and DVC has put everything back."""
    RECORD.unlink(missing_ok=True)


def repair() -> None:
    """Undoes what a killed start left. Nothing is lost: what the working copy holds now is put into git's stash first."""
    if not RECORD.exists():
        return
    before = read_json(RECORD)
    detached = _branch() is None and before["branch"] is not None
    stashed = None if _stash() == before["stash"] else _stash()
    if run_git("rev-parse", "HEAD") == before["commit"] and (detached or stashed):
        if detached:
            run_git("symbolic-ref", "HEAD", before["branch"])
        if _changes() and (stashed or not before["changes"]):
            run_git("stash", "push", "--message", "left by an experiment that was killed as it started")
        if stashed:
            index = run_git("stash", "list", "--format=%H").splitlines().index(stashed)
            run_git("stash", "apply", "--index", stashed)
            run_git("stash", "drop", f"stash@{{{index}}}")
        say("put the working copy back as it was before an experiment that was killed as it started")
    forget()


def _branch() -> str | None:
    return query_git("symbolic-ref", "--quiet", "HEAD")


def _stash() -> str | None:
    return query_git("rev-parse", "--verify", "--quiet", "refs/stash")


def _changes() -> bool:
    return bool(run_git("status", "--porcelain", "--untracked-files=no"))
