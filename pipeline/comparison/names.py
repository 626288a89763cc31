"""What the name of a model stands for: the present results, a folder, a DVC experiment, a git revision or an MLflow run.

Invariants: a name that fits several is refused, and a prefix chooses: `folder:`, `exp:`, `git:`, `mlflow:`. Runs are looked for
last: the run of an experiment has the experiment's name.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.comparison.results import holds_results
from pipeline.console import UserError, without_credentials
from pipeline.files import repository_root
from pipeline.git import query_git
from pipeline.revisions import list_experiments

WORKSPACE = "workspace"
RUN_ID = re.compile(r"[0-9a-f]{32}")
Kind = Literal["folder", "experiment", "revision", "run"]


class Located(NamedTuple):
    """Where the results of a model are.

    Attributes:
      given: on the command line. address: the folder's path, the commit, or the id of the run.
      label: short. read_as: the kind, in words.
    """

    given: str
    kind: Kind
    address: str
    label: str
    read_as: str


def locate_all(names: list[str]) -> list[Located]:
    """Locates every model; raises UserError for a name that is unknown, ambiguous or of the same model as another one."""
    located = [locate(name) for name in names]
    for number, one in enumerate(located):
        for other in located[:number]:
            if (one.kind, one.address) == (other.kind, other.address):
                raise UserError(f"{other.given} and {one.given} are the same: {one.read_as}", advice="give two models")
    labels = [one.label for one in located]
    return [one._replace(label=one.given) if labels.count(one.label) > 1 else one for one in located]


def locate(name: str) -> Located:
    """Raises UserError with what was looked for."""
    if name == WORKSPACE:
        if not holds_results(Path.cwd()):
            message = f"{name}: there is no results/predictions.csv in {Path.cwd()}"
            raise UserError(message, advice="run `dvc repro`, or go to the root of the repository")
        return Located(name, "folder", str(Path.cwd()), name, "the present results")
    prefix, colon, rest = name.partition(":")
    if colon and rest and prefix in FINDERS:
        found = [one for kind in FINDERS[prefix] for one in kind(rest)]
    else:
        found = [one for finder in (find_folder, find_experiments, find_revision) for one in finder(name)] or find_runs(name)
    if len(found) > 1:
        choices = ", ".join(f"{one.given} ({one.read_as})" for one in found)
        raise UserError(f"{name}: ambiguous", advice=f"give one of {choices}")
    if not found:
        raise UserError(f"{name}: not found", advice=_looked_for(name))
    return found[0]._replace(given=name)


def find_folder(name: str) -> list[Located]:
    path = Path(name).expanduser()
    if not path.is_dir() or not holds_results(path):
        return []
    path = path.resolve()
    return [Located(f"folder:{name}", "folder", str(path), path.name, f"folder {path}")]


def find_experiments(name: str) -> list[Located]:
    """The DVC experiments of that name: that of the current commit, else those of all commits."""
    head = query_git("rev-parse", "--verify", "--quiet", "HEAD")
    found = [one for one in list_experiments() if one.name == name]
    found = [one for one in found if one.base == head] or found
    several = len(found) > 1
    return [
        Located(f"git:{commit[:10]}" if several else f"exp:{name}", "experiment", commit, name, f"DVC experiment on {base[:7]}")
        for _, base, commit in found
    ]


def find_revision(name: str) -> list[Located]:
    if name.startswith("-"):
        return []
    commit = query_git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if commit is None:
        return []
    ref = query_git("rev-parse", "--symbolic-full-name", name) or ""
    kinds = {"refs/heads/": "git branch", "refs/tags/": "git tag", "refs/remotes/": "git branch", "refs/exps/": "DVC experiment"}
    kind = next((word for start, word in kinds.items() if ref.startswith(start)), "git commit")
    return [
        Located(
            f"git:{name}", "revision", commit, name, f"{kind} {commit[:7]}" if kind == "git commit" else f"{kind} at {commit[:7]}"
        )
    ]


def find_runs(name: str) -> list[Located]:
    """The MLflow run of that id, or those of that name."""
    if not has_store():
        return []
    from pipeline.tracking.lookup import find_run
    from pipeline.tracking.store import open_client, readable_errors

    client = open_client()
    with readable_errors(client.tracking_uri):
        if RUN_ID.fullmatch(name):
            run = find_run(client, name)
            runs = [] if run is None else [run]
        elif '"' in name:  # cannot be asked for
            runs = []
        else:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            runs = client.search_runs(experiments, f'attributes.run_name = "{name}"', max_results=20)
    several = len(runs) > 1
    return [
        Located(
            f"mlflow:{run.info.run_id}" if several else f"mlflow:{name}",
            "run",
            run.info.run_id,
            run.info.run_name or name,
            f"MLflow run {run.info.run_id}",
        )
        for run in runs
    ]


def has_store() -> bool:
    """Whether there is a tracking store: one that the environment names, or mlflow.db at the root of the repository."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI", "").strip()) or (repository_root() / "mlflow.db").exists()


FINDERS: dict[str, tuple[Callable[[str], list[Located]], ...]] = {
    "folder": (find_folder,),
    "exp": (find_experiments,),
    "git": (find_revision,),
    "mlflow": (find_runs,),
}


def _looked_for(name: str) -> str:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return f"the folder {folder} holds neither predictions.csv nor results/predictions.csv, and nothing else has this name"
    places = ["a folder that holds predictions.csv"]
    if query_git("rev-parse", "--git-dir") is None:
        places.append(f"no DVC experiment or commit, as {Path.cwd()} is in no git repository")
    else:
        places.append("a DVC experiment, a commit, branch or tag of git")
    if has_store():
        from pipeline.tracking.store import tracking_uri

        places.append(f"an id or a name of a run in MLflow at {without_credentials(tracking_uri())}")
    else:
        places.append("no MLflow run, as there is no mlflow.db and MLFLOW_TRACKING_URI is not set")
    return f"looked for {'; '.join(places)}"
