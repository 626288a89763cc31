"""Checks of what will run: the state of the code in git, params.yaml against `conf/`, and which stages DVC has run already."""

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts import CODE
from pipeline.check_results import CheckResult, listed, ok, problem, refused, warning
from pipeline.git import experiment_errors, query_git, repository_error, run_git
from pipeline.params import PARAMS_FILE
from pipeline.revisions import cache_folder

NEEDED = (*CODE, "conf", "hydra_plugins", "dvc.yaml", "numeric.lock")  # what an experiment runs
CONF = Path("conf")
SHOWN = 8  # differences named in the message
# Where git fails in these ways `dvc repro` runs nevertheless (observed of DVC 3.67, which brings a git of its own).
STILL_RUNS = {
    "program": "`dvc repro` runs without it, but no run records its commit, and sweeps fail",
    "owner": "`dvc repro` runs, but no run records its commit, and experiments fail",
    "commit": "`dvc repro` runs, experiments do not",
}


def in_git(path: str) -> bool:
    """Whether git tracks the file, or something in the folder."""
    return bool(query_git("ls-files", "--", path))


def check_git() -> list[CheckResult]:
    """Checks whether a commit describes the code that will run, and whether experiments can run.

    Observed of DVC 3.67: `dvc repro` and a plain `dvc exp run` run the files as they are; `dvc exp run --temp` and `--queue` run
    a copy of the last commit with the changes to tracked files at the time of the command, without untracked files.
    """
    error = repository_error()
    if error is not None:
        if error.kind not in STILL_RUNS:
            return [refused("git", error)]
        return [warning("git", f"{error.message}; {STILL_RUNS[error.kind]}", error.advice)]
    state = run_git("status", "--porcelain", "--untracked-files=all", "--", *NEEDED)
    changes = [(line[:2], line[3:]) for line in state.splitlines()]
    unknown = sorted(name for kind, name in changes if kind == "??")
    changed = sorted(name for kind, name in changes if kind != "??")
    results = [warning("git", error.message, error.advice) for error in experiment_errors()]
    if unknown:
        message = f"not in git: {listed(unknown)}. `dvc exp run --temp` and `--queue` run without them"
        results.append(warning("git", message, "git add them"))
    if changed:
        message = f"changed since the last commit: {listed(changed)}. Experiments run the files of the time when they are queued"
        results.append(warning("git", message, "git commit, so that others can run the same"))
    return results or [ok("git", f"{', '.join(NEEDED)} are those of {run_git('rev-parse', '--short', 'HEAD')}")]


def _composed() -> dict:
    """The configuration that `dvc exp run` without options composes from conf/."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF.resolve()), version_base=None):
        return OmegaConf.to_container(compose("config"), resolve=True)


def _differences(here: Any, there: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(key, value here, value there) of every difference; the value of an absent key is None."""
    if isinstance(here, dict) and isinstance(there, dict) and name != "data.flip":  # one value, even if a mapping
        keys = [*here, *(key for key in there if key not in here)]
        return [found for key in keys for found in _differences(here.get(key), there.get(key), f"{name}.{key}".lstrip("."))]
    return [] if here == there else [(name, here, there)]


def check_params(content: dict) -> CheckResult:
    """Compares `content`, of params.yaml, with what `dvc exp run` composes from conf/."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        differences = _differences(content, _composed())
    except (HydraException, OmegaConfBaseException) as error:
        message = f"conf/ cannot be composed: {' '.join(str(error).split())[:300]}"
        return problem("params", message, "repair it, or git checkout conf")
    if not differences:
        return ok("params", f"{PARAMS_FILE} is what conf/ composes, so `dvc repro` and `dvc exp run` run the same")
    parts = [f"{key} = {json.dumps(value)} (conf/: {json.dumps(other)})" for key, value, other in differences]
    message = f"{PARAMS_FILE} is not the default that conf/ composes: {listed(parts, SHOWN)}"
    advice = "`dvc repro` runs it as it is; `dvc exp run` composes it from conf/ again, so give the same -S options there"
    return warning("params", message, advice)


def _at(content: dict, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def is_made(stage: str, content: dict) -> bool:
    """Whether dvc.lock records `stage` with these parameters, and its outputs are here or in DVC's cache.

    DVC may still run it, if its code or inputs have changed since.
    """
    lock = Path("dvc.lock")
    record = (yaml.safe_load(lock.read_text()) or {}).get("stages", {}).get(stage) if lock.is_file() else None
    if record is None:
        return False
    used = record.get("params", {}).get(str(PARAMS_FILE), {})
    if any(_at(content, key) != value for key, value in used.items()):
        return False
    cache = cache_folder() / "files" / "md5"
    return all(Path(out["path"]).exists() or (cache / out["md5"][:2] / out["md5"][2:]).exists() for out in record.get("outs", []))
