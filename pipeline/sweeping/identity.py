"""What makes two trials the same: the code, the parameters and the data they are made from.

A trial's name follows from these, so that the same trial is the same DVC experiment, and a finished one is found again. A key of
each stage follows from them too: two trials that share a stage must not both run it.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts import CODE
from pipeline.console import UserError
from pipeline.files import content_key, sha256
from pipeline.git import run_git

READ_WHOLE = 64 * 2**20  # bytes up to which a data file is identified by its content, not by size and time
SLUG_LENGTH = 40
LOCAL_FILES = ("data.watch", "data.archive", "data.folder", "data.listing", "model.watch")  # parameters that may name some


def code_state() -> list[str]:
    """The commit, and a digest of the uncommitted changes of the code.

    Raises:
      UserError: code that git does not know: experiments run in copies that would lack it.
    """
    untracked = run_git("ls-files", "--others", "--exclude-standard", "--", *CODE)
    if untracked:
        message = f"{untracked.splitlines()[0]}: not in git, so the copies that trials run in would lack it"
        raise UserError(message, advice="`git add` it, or remove it")
    return [run_git("rev-parse", "HEAD"), content_key(run_git("diff", "HEAD", "--", *CODE))]


def files_state(content: dict[str, Any]) -> list:
    """The state of the local files that parameters name: of small files the content, else names, sizes and times."""
    state = []
    for key in LOCAL_FILES:
        value = _select(content, key)
        path = Path(value) if isinstance(value, str) and "://" not in value else None
        if path is None or not path.exists():
            continue
        if path.is_file() and path.stat().st_size <= READ_WHOLE:
            state.append([key, sha256(path)])
        else:
            files = [path] if path.is_file() else sorted(Path(base, name) for base, _, names in os.walk(path) for name in names)
            looks = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
            state.append([key, content_key(looks)])
    return state


def trial_name(sweep: str, swept: list[str], overrides: dict[str, str], state: list, content: dict[str, Any]) -> str:
    """`<sweep>-<values that vary>-<key>`: valid as a DVC experiment and as a file name."""
    values = "-".join(_short(overrides[key]) for key in swept if key in overrides)
    slug = re.sub(r"[^A-Za-z0-9_]+", "_", values.replace("-", "~")).strip("_")[:SLUG_LENGTH].strip("_")
    return "-".join(part for part in (sweep, slug, content_key(state, content)[:8]) if part)


def _short(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value
    return value if number == int(number) else f"{number:.3g}"


def stage_keys(content: dict[str, Any], state: list, pipeline: Path = Path("dvc.yaml")) -> dict[str, str]:
    """A key of each stage, in the order of dvc.yaml, in which they run: equal for two trials that are equal up to that stage."""
    keys, before = {}, [state]
    for name, stage in yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"].items():
        before.append({param: _select(content, param) for param in stage.get("params", [])})
        keys[name] = content_key(name, before)
    return keys


def _select(content: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content
