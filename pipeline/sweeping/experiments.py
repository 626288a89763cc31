"""Runs DVC experiments in a copy of the repository, finds them, and reads their results.

Invariants: an experiment that exists is complete, because DVC creates it after its last stage has succeeded. Reading an
experiment does not change the working copy.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.artifacts import METRICS, PREDICTIONS, Metrics, RunRecord
from pipeline.console import UserError
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.git import experiment_errors, query_git, repository_error, run_git
from pipeline.sweeping.guard import await_guard, guard_command
from pipeline.sweeping.stage_locks import StageLocks
from pipeline.tracking.provenance import PARENT_VARIABLE

STAGE_LINE = re.compile(r"^(?:Running stage|Stage) '([^']+)'")
LOCKED = re.compile(r"Unable to acquire lock|is busy, it is being blocked by|index\.lock")
ERROR_LINE = re.compile(r"^(?:error|ERROR): (.+)")
ATTEMPTS = 20
WAIT = (1.0, 6.0)  # seconds between two attempts while another process of DVC holds its lock


class TrialError(Exception):
    """An experiment that did not succeed; the message is one line."""


def require_repository() -> None:
    """Raises UserError unless the current directory is the root of a repository in which DVC can run experiments."""
    if not (Path("dvc.yaml").exists() and Path(".dvc").is_dir()):
        raise UserError("run this at the root of the repository: trials are its DVC experiments")
    error = repository_error() or next(iter(experiment_errors()), None)
    if error is not None:
        raise error


def find_experiment(name: str) -> str | None:
    """The commit of the experiment `name` of the current commit; None where there is none."""
    head = run_git("rev-parse", "HEAD")
    return query_git("rev-parse", "--verify", "--quiet", f"refs/exps/{head[:2]}/{head[2:]}/{name}^{{commit}}")


def read_metrics(commit: str) -> Metrics:
    return Metrics.from_text(run_git("show", f"{commit}:{METRICS}"), METRICS)


def open_files(commit: str):
    """The experiment's files, including DVC's outputs, as an fsspec file system."""
    from dvc.api import DVCFileSystem

    return DVCFileSystem(str(Path.cwd()), rev=commit)


def read_run_id(files, path: Path) -> str:
    """The MLflow run that a stage of the experiment noted in `path` (models/run.json or results/run.json)."""
    return RunRecord.from_text(files.read_text(str(path)), path).run_id


def read_experiment_predictions(commit: str) -> Predictions:
    """The predictions of an experiment."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PREDICTIONS.name
        open_files(commit).get_file(str(PREDICTIONS), str(copy))
        return read_predictions(copy)


def run_experiment(
    name: str,
    overrides: dict[str, str],
    *,
    folder: Path,
    sweep: str,
    parent_run: str,
    locks: StageLocks,
    on_stage: Callable[[str], None],
) -> str:
    """Runs the pipeline as the DVC experiment `name` in a copy of the repository; returns its commit.

    Args:
      folder: of the sweep; the output of DVC and the stages is appended to `<name>.log` there.
      sweep: identity of the sweep's process (see pipeline.processes): when it ends, the experiment is interrupted.
      parent_run: MLflow run under which the stages log theirs.
      on_stage: called with `waiting`, `starting` and then each stage that DVC starts.

    Raises:
      TrialError: a stage or DVC failed; the message is the error that it printed.
    """
    settings = [part for key, value in overrides.items() for part in ("-S", f"{key}={value}")]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", name, *settings]
    guard_lock = folder / f"{name}.guard"
    await_guard(guard_lock)
    _remove_killed(name)
    for _ in range(ATTEMPTS):
        on_stage("waiting")
        lines: deque[str] = deque(maxlen=200)
        with locks, open(folder / f"{name}.log", "a", encoding="utf-8") as log:
            on_stage("starting")
            log.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
            with _started(guard_command(command, guard_lock, sweep), parent_run, log) as process:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    lines.append(line.rstrip())
                    stage = STAGE_LINE.match(line)
                    if stage:
                        locks.enter_stage(stage.group(1))
                        on_stage(stage.group(1))
            commit = find_experiment(name)
            if commit is not None:
                locks.enter_stage(None)
                return commit
        if not any(LOCKED.search(line) for line in lines):
            break
        time.sleep(random.uniform(*WAIT))
    raise TrialError(_reason(list(lines), process.returncode))


@contextmanager
def _started(command: list[str], parent_run: str, log: TextIO) -> Iterator[subprocess.Popen]:
    """Starts a process and waits for it at the end of the block. If the block raises, terminates it and logs its last output."""
    scripts = str(Path(sys.executable).parent)  # the stages' commands say `python`
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    environment = os.environ | {PARENT_VARIABLE: parent_run, "PATH": path, "PYTHONUNBUFFERED": "1"}
    options = {"text": True, "errors": "replace", "env": environment, "start_new_session": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    try:
        yield process
        process.wait()
    except BaseException:
        process.terminate()  # the guard gives the stages time to save their checkpoints
        log.write(process.communicate()[0] or "")
        raise


def _reason(lines: list[str], status: int) -> str:
    """The reason of a failure: the last error line of a stage, else the first of DVC, else the last line."""
    errors = [(line.startswith("error"), found.group(1)) for line in lines if (found := ERROR_LINE.match(line))]
    stage_errors = [text for own, text in errors if own]
    found = stage_errors[-1:] or [text for _, text in errors[:1]] or [line for line in lines if line.strip()][-1:]
    return found[0][:500] if found else f"dvc ended with status {status}"


def _remove_killed(name: str) -> None:
    """Removes the copy of the repository that a killed experiment `name` left behind. Nothing of that name may be running."""
    root = Path(".dvc/tmp/exps").resolve()
    for info in sorted(root.glob("**/run/*/*.run")):
        try:
            left = json.loads(info.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, FileNotFoundError):  # another experiment's, as it begins or ends
            continue
        copy = Path(left.get("root_dir", "/"))
        if left.get("name") == name and root in copy.parents:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.rmtree(info.parent, ignore_errors=True)
