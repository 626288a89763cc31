"""DVC experiments as a sweep uses them: run one in a copy of the repository, find it again, read what it made.

Invariants: an experiment that exists is whole (DVC makes it only when its last stage has succeeded), and reading one
changes nothing in the working copy.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.artifacts import METRICS, RunRecord
from pipeline.console import UserError
from pipeline.sweeping.guard import await_guard
from pipeline.sweeping.identity import git
from pipeline.tracking.provenance import PARENT_VARIABLE

STAGE_LINE = re.compile(r"^(?:Running stage|Stage) '([^']+)'")
LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by|index\.lock")
ERROR_LINE = re.compile(r"^(?:error|ERROR): (.+)")
TRIES = 20
WAIT = (1.0, 6.0)  # seconds between two tries while another process of DVC holds its lock


class TrialError(Exception):
    """An experiment that did not succeed; the message is one line."""


def find_experiment(name: str) -> str | None:
    """The commit of the experiment `name` of the current commit; None where there is none."""
    head = git("rev-parse", "HEAD")
    return git("rev-parse", "--verify", "--quiet", f"refs/exps/{head[:2]}/{head[2:]}/{name}^{{commit}}", check=False) or None


def read_metrics(commit: str) -> dict[str, Any]:
    """Content of the experiment's results/metrics.json."""
    return json.loads(git("show", f"{commit}:{METRICS}"))


def open_files(commit: str):
    """The experiment's files, DVC's outputs among them, as an fsspec file system."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(Path.cwd()), rev=commit)


def read_run_id(files, path: str) -> str:
    """The MLflow run that a stage of the experiment noted in `path` (models/run.json or results/run.json)."""
    return RunRecord.from_text(files.read_text(path), Path(path)).run_id


def run_experiment(
    name: str,
    overrides: dict[str, str],
    *,
    log: Path,
    lock: Path,
    watch: str,
    parent: str,
    on_stage: Callable[[str], None],
    on_end: Callable[[bool], None],
    before: Callable[[], None],
) -> str:
    """Runs the pipeline as the DVC experiment `name` in a copy of the repository; returns its commit.

    Args:
      log: what DVC and the stages print is added to it.
      lock, watch: for the guard (see guard.py): the trial's lock file, and the sweep's identity (see pipeline.processes).
      parent: MLflow run under which the stages make theirs.
      before: called before each try; on_stage: when DVC comes to a stage; on_end: after each try, with whether it succeeded.

    Raises:
      TrialError: a stage or DVC failed; the message is what it said.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", name]
    command += [part for key, value in overrides.items() for part in ("-S", f"{key}={value}")]
    guard = [sys.executable, "-m", "pipeline.sweeping.guard", "--lock", str(lock), "--watch", watch]
    guard += ["--parent", str(os.getpid())]
    await_guard(lock)
    forget_killed(name)
    for _ in range(TRIES):
        before()
        lines = []
        try:
            status = _follow([*guard, "--", *command], parent, log, lines, on_stage)
            commit = find_experiment(name)
        except BaseException:
            on_end(False)
            raise
        on_end(commit is not None)
        if commit is not None:
            return commit
        if not any(LOCKED.search(line) for line in lines):
            break
        time.sleep(random.uniform(*WAIT))
    raise TrialError(_reason(lines, status))


def _follow(command: list[str], parent: str, log: Path, lines: list[str], on_stage: Callable[[str], None]) -> int:
    """Runs the command, copies what it prints to the log and its last lines to `lines`; returns its exit status."""
    scripts = str(Path(sys.executable).parent)  # the stages' commands say `python`
    environment = os.environ | {
        PARENT_VARIABLE: parent,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
    }
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command[command.index('--') + 1 :])}\n")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                lines.append(line.rstrip())
                del lines[:-200]
                stage = STAGE_LINE.match(line)
                if stage:
                    on_stage(stage.group(1))
            return process.wait()
        except BaseException:
            process.terminate()  # the guard lets the stages keep their checkpoints
            file.write(process.communicate()[0] or "")
            raise


def _reason(lines: list[str], status: int) -> str:
    """What failed: the stage's own line, else DVC's, else the last one."""
    errors = [(line.startswith("error"), found.group(1)) for line in lines if (found := ERROR_LINE.match(line))]
    stage_errors = [text for own, text in errors if own]
    said = stage_errors[-1:] or [text for _, text in errors[:1]] or [line for line in lines if line.strip()][-1:]
    return said[0][:500] if said else f"dvc ended with status {status}"


def forget_killed(name: str) -> None:
    """Removes the copy of the repository that a killed experiment `name` left behind. Nothing of that name may be running."""
    root = Path(".dvc/tmp/exps").resolve()
    for info in sorted(root.glob("**/run/*/*.run")):
        try:
            left = json.loads(info.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, FileNotFoundError):  # another experiment's, as it begins or ends
            continue
        place = Path(left.get("root_dir", "/"))
        if left.get("name") == name and root in place.parents:
            shutil.rmtree(place, ignore_errors=True)
            shutil.rmtree(info.parent, ignore_errors=True)


def require_repository() -> None:
    """Raises UserError unless the current directory is the root of a repository in which DVC can run experiments."""
    if not (Path("dvc.yaml").exists() and Path(".dvc").is_dir() and Path(".git").exists()):
        raise UserError("run this at the root of the repository: trials are its DVC experiments")
    if git("rev-parse", "--verify", "--quiet", "HEAD", check=False) == "":
        raise UserError("the repository has no commit yet; experiments start from one")
