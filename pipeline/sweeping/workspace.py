"""Puts the working copy back where a kill caught DVC at starting an experiment.

For the second or two in which DVC composes an experiment, the branch is detached and the user's uncommitted changes lie in git's
stash. An interrupt lets DVC undo that; SIGKILL or a power cut does not. So where things stood is noted beforehand.
"""

from pathlib import Path

from pipeline.console import say
from pipeline.files import read_json, write_json
from pipeline.sweeping.identity import git

NOTE = Path(".cache/sweeps/starting.json")


def note() -> None:
    """Notes the branch and the stash; called before DVC starts an experiment."""
    state = {"branch": _branch(), "commit": git("rev-parse", "HEAD"), "stash": _stash(), "changes": _changes()}
    write_json(NOTE, state)


def forget() -> None:
    """The experiment has started, and DVC has put everything back."""
    NOTE.unlink(missing_ok=True)


def repair() -> None:
    """Undoes what a killed start left. Nothing is lost: what lies in the working copy now is put into git's stash first."""
    if not NOTE.exists():
        return
    before = read_json(NOTE)
    detached = _branch() is None and before["branch"] is not None
    if git("rev-parse", "HEAD") == before["commit"] and (detached or _stash() != before["stash"]):
        if detached:
            git("symbolic-ref", "HEAD", before["branch"])
        stashed = _stash()
        if stashed == before["stash"]:
            stashed = None
        if _changes() and (stashed or not before["changes"]):
            git("stash", "push", "--message", "left by an experiment that was killed as it started")
        if stashed:
            place = git("stash", "list", "--format=%H").splitlines().index(stashed)
            git("stash", "apply", "--index", stashed)
            git("stash", "drop", f"stash@{{{place}}}")
        say("put the working copy back as it was before an experiment that was killed as it started")
    forget()


def _branch() -> str | None:
    return git("symbolic-ref", "--quiet", "HEAD", check=False) or None


def _stash() -> str | None:
    return git("rev-parse", "--verify", "--quiet", "refs/stash", check=False) or None


def _changes() -> bool:
    return bool(git("status", "--porcelain", "--untracked-files=no"))
