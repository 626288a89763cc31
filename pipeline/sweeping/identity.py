"""What makes two trials the same: the code, the parameters and the data they are made from.

A trial's name follows from these, so that the same trial is the same DVC experiment, and a finished one is found again. The same
goes for each stage of a trial: two trials that share a stage must not both run it.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pipeline.console import UserError
from pipeline.files import content_key, sha256
from pipeline.tracking.provenance import CODE

READ_WHOLE = 64 * 2**20  # bytes up to which a data file is known by its content, not by size and time
SLUG_LENGTH = 40


def git(*arguments: str, check: bool = True) -> str:
    """What a git command prints. Raises UserError where it fails; with check=False it gives what was printed."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout.strip()


def code_state() -> list[str]:
    """The commit, and a digest of what the code in the working copy changes in it.

    Raises:
      UserError: code that git does not know: experiments run in copies that would lack it.
    """
    untracked = git("ls-files", "--others", "--exclude-standard", "--", *CODE)
    if untracked:
        first = untracked.splitlines()[0]
        message = f"{first}: not in git, so the copies that trials run in would lack it"
        raise UserError(message, advice="`git add` it, or remove it")
    return [git("rev-parse", "HEAD"), content_key(git("diff", "HEAD", "--", *CODE))]


def data_state(content: dict[str, Any]) -> list:
    """What the local files behind `data` look like: a file's content, of large files and folders names, sizes and times."""
    state = []
    for key in ("watch", "archive", "folder", "listing"):
        value = content["data"].get(key)
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
    """A key for each stage of dvc.yaml, in the order they run: equal for two trials whose stages do the same work."""
    stages = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]
    makers = {out: name for name, stage in stages.items() for out in _outs(stage)}
    keys: dict[str, str] = {}

    def key_of(name: str) -> str:
        if name not in keys:
            before = {makers[made] for dep in stages[name].get("deps", []) for made in makers if _within(dep, made)}
            above = [key_of(other) for other in sorted(before - {name})]
            values = {param: _select(content, param) for param in stages[name].get("params", [])}
            keys[name] = content_key(name, values, above, state)
        return keys[name]

    for name in stages:
        key_of(name)
    return keys


def _outs(stage: dict) -> list[str]:
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _select(content: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        content = content[part]
    return content
