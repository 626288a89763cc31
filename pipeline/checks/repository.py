"""What will run: the state of the code in git, params.yaml beside what `conf/` composes, and what DVC has made already."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts import CODE
from pipeline.check_results import CheckResult, listed, ok, problem, refused, warning
from pipeline.console import UserError
from pipeline.params import PARAMS_FILE

NEEDED = (*CODE, "conf", "hydra_plugins", "dvc.yaml")  # what an experiment runs
CONF = Path("conf")
SHOWN = 8  # differences named in the message
NAMES = {"data": "data.name", "model": "model.id", "cluster": "cluster.engine"}  # what says which of a group was chosen


def _git(*arguments: str) -> str | None:
    """What git prints; None where git or a repository is missing."""
    try:
        done = subprocess.run(["git", "--no-optional-locks", *arguments], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def in_git(path: str) -> bool:
    """Whether git has the file, or something in the folder."""
    return bool(_git("ls-files", "--", path))


def check_git() -> list[CheckResult]:
    """Whether a commit says what will run.

    What DVC 3.67 does, seen by running it: `dvc repro` and a plain `dvc exp run` run the files as they are. `dvc exp run --temp`
    and `--queue` run a copy of the last commit with the changes to tracked files as they were when the command was given; files
    that git does not know are not in it.
    """
    state = _git("status", "--porcelain", "--untracked-files=all", "--", *NEEDED)
    if state is None:
        return [problem("git", "this is not a git repository, and DVC needs one", "git clone it, or git init and commit")]
    changes = [(line[:2], line[3:]) for line in state.splitlines()]
    unknown = sorted(name for kind, name in changes if kind == "??")
    changed = sorted(name for kind, name in changes if kind != "??")
    found = []
    if unknown:
        message = f"not in git: {listed(unknown)}. `dvc exp run --temp` and `--queue` run without them"
        found.append(warning("git", message, "git add them"))
    if changed:
        message = f"changed since the last commit: {listed(changed)}. Experiments run what is there when they start or are queued"
        found.append(warning("git", message, "git commit, so that others can run the same; what is queued keeps what it has"))
    commit = (_git("rev-parse", "--short", "HEAD") or "no commit").strip()
    return found or [ok("git", f"{', '.join(NEEDED)} are as committed ({commit})")]


def composed(*overrides: str) -> dict:
    """What `dvc exp run -S ...` would write to params.yaml. Raises UserError where conf/ cannot be composed."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONF.resolve()), version_base=None):
            return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(
            f"conf/ cannot be composed: {' '.join(str(error).split())[:300]}", advice="mend it or git checkout conf"
        ) from error


def _differences(here: Any, there: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(key, value here, value there) of what differs; a key that one side lacks has None there."""
    if isinstance(here, dict) and isinstance(there, dict) and name != "data.flip":  # a value, though it may be a mapping
        keys = [*here, *(key for key in there if key not in here)]
        return [found for key in keys for found in _differences(here.get(key), there.get(key), f"{name}.{key}".lstrip("."))]
    return [] if here == there else [(name, here, there)]


def _closest(content: dict) -> tuple[list[str], list[tuple[str, Any, Any]]]:
    """The choice of groups (data=, model=, ...) that comes nearest to `content`, and what still differs."""
    named = {group: _at(content, key) for group, key in NAMES.items()}
    fixed = [f"{group}={name}" for group, name in named.items() if (CONF / group / f"{name}.yaml").is_file()]
    kinds = sorted(path.stem for path in (CONF / "finetune").glob("*.yaml"))
    tries = [fixed, *([*fixed, f"finetune={name}"] for name in kinds)]
    found = [(chosen, _differences(content, composed(*chosen))) for chosen in tries]
    return min(found, key=lambda item: len(item[1]))


_UNQUOTED = re.compile(r"[A-Za-z0-9_/.%+-]+")  # what Hydra's grammar takes as it stands, unless it is another type's


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _hydra(value: Any) -> str:
    """A value as Hydra's command line takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_hydra(item) for item in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if _UNQUOTED.fullmatch(value) and value.lower() not in ("true", "false", "null") and not _is_number(value):
        return value
    return "'" + re.sub(r"(\\*)(?='|$)", r"\1\1", value).replace("'", r"\'") + "'"  # backslashes count only before a quote


def check_params(content: dict) -> CheckResult:
    """Whether `content`, of params.yaml, is what `dvc exp run` composes; else names what differs, and how to compose it."""
    try:
        default = composed()
        if content == default:
            return ok("params", f"{PARAMS_FILE} is what conf/ composes, so `dvc repro` and `dvc exp run` run the same")
        chosen, differences = _closest(content)
    except UserError as error:
        return refused("params", error)
    groups = [item for item in chosen if not _is_default(item, default)]
    command = shlex.join(
        ["dvc", "exp", "run", *(word for item in groups for word in ("-S", item))]
        + [word for key, value, _ in differences for word in ("-S", f"{key}={_hydra(value)}")]
    )
    parts = [f"{key} = {_hydra(value)} (conf/: {_hydra(other)})" for key, value, other in differences[:SHOWN]]
    more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    what = f"{PARAMS_FILE} is not the default that conf/ composes: {', '.join(groups + parts)}{more}"
    return warning(
        "params", what, f"`dvc repro` runs it as it is; `dvc exp run` would compose it anew. To compose the same: {command}"
    )


def _is_default(choice: str, default: dict) -> bool:
    group, _, name = choice.partition("=")
    return group in NAMES and name == _at(default, NAMES[group])


def _at(content: dict, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def cache_folder() -> Path:
    """DVC's cache of this repository."""
    from dvc.config import Config

    configured = Config.from_cwd(validate=False).get("cache", {}).get("dir")
    return Path(configured) if configured else Path(".dvc/cache")


def is_made(stage: str, content: dict) -> bool:
    """Whether dvc.lock says that `stage` ran with these parameters, and its outputs are here or in DVC's cache.

    Where its code or inputs have changed since, DVC will run it all the same.
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
