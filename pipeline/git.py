"""Git commands that other modules run, and what they print."""

import subprocess
from pathlib import Path

from pipeline.console import UserError

SECONDS = 60  # after which a command is given up


def run_git(*arguments: str, folder: Path | None = None) -> str:
    """Returns what a git command prints, without the final newline. Raises UserError where it fails."""
    try:
        done = _run(arguments, folder)
    except FileNotFoundError:
        raise UserError("git: not found", advice="install it") from None
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout.rstrip("\n")


def query_git(*arguments: str, folder: Path | None = None) -> str | None:
    """The same; None where the command fails, or where there is no git or no repository."""
    try:
        done = _run(arguments, folder)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.rstrip("\n")


def _run(arguments: tuple[str, ...], folder: Path | None) -> subprocess.CompletedProcess:
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
