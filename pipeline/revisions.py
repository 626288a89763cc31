"""DVC experiments and git revisions: which there are, and their files, outputs that DVC keeps included.

Invariant: reading does not change the working copy. Paths are relative to the pipeline's folder, the current directory, which may
be a sub-folder of the git repository.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.git import query_git, run_git

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/([^/]+)")


class Experiment(NamedTuple):
    """A DVC experiment. base: the commit that it was started from. commit: its own."""

    name: str
    base: str
    commit: str


def list_experiments() -> list[Experiment]:
    """The experiments of all commits."""
    listed = query_git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/") or ""
    found = [(line.split(" ", 1)[0], EXPERIMENT.fullmatch(line.split(" ", 1)[1])) for line in listed.splitlines()]
    return [Experiment(ref[3], ref[1] + ref[2], commit) for commit, ref in found if ref]


def sub_folder() -> Path:
    """The current directory, relative to the root of its git repository."""
    return Path(run_git("rev-parse", "--show-prefix"))


def open_files(commit: str) -> "AbstractFileSystem":
    """The files of a commit: of git, of DVC's cache or, if that lacks them, of its remote storage.

    Raises DvcException and NotDvcRepoError of DVC.
    """
    from dvc.api import DVCFileSystem
    from fsspec.implementations.dirfs import DirFileSystem

    folder = sub_folder()
    if folder == Path():
        return DVCFileSystem(str(Path.cwd()), rev=commit)
    return DirFileSystem(folder.as_posix(), DVCFileSystem(str(Path.cwd()), rev=commit, subrepos=True))


def cache_folder() -> Path:
    """DVC's cache of this repository."""
    from dvc.config import Config

    configured = Config.from_cwd(validate=False).get("cache", {}).get("dir")
    return Path(configured) if configured else Path(".dvc/cache")


def params_text(commit: str) -> str:
    """params.yaml of a commit."""
    return run_git("show", f"{commit}:./params.yaml")
