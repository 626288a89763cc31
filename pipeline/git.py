"""Git commands that other modules run, what they print, and why git or DVC's experiments cannot work in a folder."""

import os
import subprocess
from pathlib import Path
from typing import Literal

from pipeline.console import UserError

SECONDS = 60  # after which a command is given up

Kind = Literal["program", "owner", "repository", "damaged", "commit", "shallow", "identity", "other"]


class GitError(UserError):
    """A command of git failed, or DVC's experiments would, with the cause as `kind`.

    program: git is not installed. owner: the repository is another user's. repository: there is none. damaged: there is one that
    git cannot read. commit: there is none yet. shallow, identity: see `experiment_errors`. other: in git's own words.
    """

    def __init__(self, kind: Kind, message: str, *, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.kind = kind


def run_git(*arguments: str, folder: Path | None = None) -> str:
    """Returns what a git command prints, without the final newline. Raises GitError where it fails."""
    done = _run(arguments, folder)
    if done.returncode:
        raise _error(arguments[0], done.stderr, folder or Path.cwd())
    return done.stdout.rstrip("\n")


def query_git(*arguments: str, folder: Path | None = None) -> str | None:
    """The same; None where the command fails, whatever the cause: `repository_error` tells it."""
    try:
        return run_git(*arguments, folder=folder)
    except GitError:
        return None


def repository_error(folder: Path | None = None) -> GitError | None:
    """Why git cannot read the repository of `folder` and its last commit; None if it can."""
    try:
        run_git("rev-parse", "--show-toplevel", folder=folder)
    except GitError as error:
        return error
    if query_git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder) is None:
        message = "the repository has no commit yet, and experiments start from one"
        return GitError("commit", message, advice="git add . and git commit")
    return None


def experiment_errors() -> list[GitError]:
    """Why DVC's experiments or sweeps would fail in the current directory, though git can read it.

    Observed of DVC 3.67: in a shallow clone `dvc exp run --temp` and `--queue` end with status 0 and without an experiment;
    without an identity the first `dvc exp run` succeeds and each one with changes to keep fails as an unexpected error.
    """
    errors = []
    if run_git("rev-parse", "--is-shallow-repository") == "true":
        message = "this is a shallow clone (git clone --depth): experiments with --temp or --queue, and sweeps, are lost in it"
        errors.append(GitError("shallow", message, advice="git fetch --unshallow"))
    if not _has_identity():
        message = "git knows no name and e-mail address of yours, without which DVC cannot keep experiments"
        advice = "git config --global user.name 'Your Name' and git config --global user.email you@example.org"
        errors.append(GitError("identity", message, advice=advice))
    return errors


def _has_identity() -> bool:
    """As DVC decides: author and committer have a name and an address, from the environment or both from git's settings."""
    settings = {key: query_git("config", "--get", f"user.{key.lower()}") for key in ("NAME", "EMAIL")}
    if not all(settings.values()):
        settings = {}
    roles = ("GIT_AUTHOR", "GIT_COMMITTER")
    return all(os.environ.get(f"{role}_{key}", settings.get(key)) for role in roles for key in ("NAME", "EMAIL"))


def _run(arguments: tuple[str, ...], folder: Path | None) -> subprocess.CompletedProcess:
    command = ["git", "--no-optional-locks", *arguments]
    environment = os.environ | {"LC_ALL": "C", "LANGUAGE": "C"}  # the causes are read from its messages
    options = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "env": environment, "timeout": SECONDS}
    try:
        return subprocess.run(command, cwd=folder, **options)
    except FileNotFoundError:
        if folder is not None and not folder.is_dir():
            raise
        raise GitError("program", "git: not found", advice="install it (Debian: apt-get install git)") from None
    except subprocess.TimeoutExpired:
        raise GitError("other", f"git {arguments[0]}: no answer within {SECONDS} s") from None


def _error(command: str, printed: str, folder: Path) -> GitError:
    """The cause of a failure, from what git printed to stderr."""
    text = " ".join(printed.split())
    if "dubious ownership" in text:
        owned = text.partition("repository at '")[2].partition("'")[0] or str(folder)
        message = f"git does not read {owned}, because it belongs to another user"
        return GitError("owner", message, advice=f"if you trust it: git config --global --add safe.directory '{owned}'")
    if "not a git repository" in text:
        if (folder / ".git").exists():
            message = f"git cannot read {folder / '.git'} ({text[:200]})"
            advice = "git worktree repair if the main repository was moved; else clone again, and move your changes there"
            return GitError("damaged", message, advice=advice)
        message = "this is not a git repository, and DVC needs one"
        return GitError("repository", message, advice="git clone it, or git init and commit")
    return GitError("other", f"git {command}: {text[:300]}")
