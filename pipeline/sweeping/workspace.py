"""Restores the working copy after DVC was killed while it started an experiment.

While DVC composes an experiment, for a second or two, HEAD is detached and the user's uncommitted changes are in git's stash. DVC
undoes this after an interrupt, but not after SIGKILL or a power failure. So the state is recorded beforehand.
"""

from pathlib import Path

from pipeline.console import say
from pipeline.files import read_json, write_json
from pipeline.git import query_git, run_git

RECORD = Path(".cache/sweeps/starting.json")


def record() -> None:
    """Records the state of the working copy. Call it before DVC starts an experiment."""
    write_json(RECORD, {"branch": _branch(), "commit": run_git("rev-parse", "HEAD"), "stash": _stash(), "changes": _changes()})


def forget() -> None:
    """Removes the record. Call it when the experiment has started and DVC has restored the working copy."""
    RECORD.unlink(missing_ok=True)


def repair() -> None:
    """Restores the recorded state, if a start was killed. Current changes are stashed first, so none is lost."""
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
        say("restored the working copy to its state before an experiment that was killed while it started")
    forget()


def _branch() -> str | None:
    return query_git("symbolic-ref", "--quiet", "HEAD")


def _stash() -> str | None:
    return query_git("rev-parse", "--verify", "--quiet", "refs/stash")


def _changes() -> bool:
    return bool(run_git("status", "--porcelain", "--untracked-files=no"))
