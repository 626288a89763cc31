"""Runs DVC experiments in a copy of the repository, and finds them.

Invariant: an experiment that exists is complete, because DVC creates it after its last stage has succeeded.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import yaml

from pipeline.console import UserError
from pipeline.files import repository_root, write_text
from pipeline.git import experiment_errors, query_git, repository_error, run_git
from pipeline.revisions import sub_folder
from pipeline.sweeping.guard import await_guard, guard_command
from pipeline.sweeping.plan import Sweep
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
    """Raises UserError unless the current directory is that of a pipeline whose experiments DVC can run."""
    if not (Path("dvc.yaml").exists() and Path(".dvc").is_dir()):
        raise UserError("run this in the folder of dvc.yaml: trials are experiments of its pipeline")
    error = repository_error() or next(iter(experiment_errors()), None)
    if error is not None:
        raise error


def find_experiment(name: str) -> str | None:
    """The commit of the experiment `name` of the current commit; None where there is none."""
    head = run_git("rev-parse", "HEAD")
    return query_git("rev-parse", "--verify", "--quiet", f"refs/exps/{head[:2]}/{head[2:]}/{name}^{{commit}}")


def run_experiment(
    name: str, overrides: dict[str, str], sweep: Sweep, *, locks: StageLocks, on_stage: Callable[[str], None]
) -> str:
    """Runs the pipeline as the DVC experiment `name` in a copy of the repository; returns its commit.

    Args:
      sweep: the output of DVC and the stages is appended to `<name>.log` in its folder, the stages log under its MLflow run, and
        the experiment is interrupted when its process ends.
      on_stage: called with `waiting`, `starting` and then each stage that DVC starts.

    Raises:
      TrialError: a stage or DVC failed; the message is the error that it printed.
    """
    settings = [part for key, value in overrides.items() for part in ("-S", f"{key}={value}")]
    await_guard(sweep.path / f"{name}.guard")
    _remove_killed(name)
    command = ["exp", "run", "--temp", "-n", name, *settings]
    return _run_dvc(name, command, sweep, locks, on_stage, lambda status: find_experiment(name))


def run_shared_stages(
    name: str,
    content: dict[str, Any],
    last: str,
    copy: Path,
    sweep: Sweep,
    *,
    locks: StageLocks,
    on_stage: Callable[[str], None],
) -> None:
    """Runs the pipeline up to the stage `last` in `copy`, a new copy of the git repository; see `run_experiment`.

    Not as an experiment: DVC 3.67 cannot keep one of some stages where the results of the others, as dvc.lock names them, are not
    in its cache, as in a new clone.

    content: of params.yaml.
    """
    from dvc.repo import Repo

    await_guard(sweep.path / f"{name}.guard")
    shutil.rmtree(copy, ignore_errors=True)
    run_git("clone", "--quiet", "--shared", "--no-tags", run_git("rev-parse", "--show-toplevel"), str(copy))
    pipeline, changes = copy / sub_folder(), copy / ".git" / "changes"
    run_git("diff", "--binary", f"--output={changes}", "HEAD")
    if changes.stat().st_size:
        run_git("apply", "--whitespace=nowarn", str(changes), folder=copy)
    changes.unlink()
    if Path(".dvc/config.local").exists():
        shutil.copy(".dvc/config.local", pipeline / ".dvc" / "config.local")
    with Repo(str(Path.cwd())) as ours, Repo(str(pipeline)) as theirs, theirs.config.edit("local") as config:
        config["cache"]["dir"] = ours.cache.local_cache_dir
    write_text(pipeline / "params.yaml", yaml.safe_dump(content, sort_keys=False))
    command = ["--cd", str(pipeline), "repro", last]
    _run_dvc(name, command, sweep, locks, on_stage, lambda status: name if status == 0 else None)


def _run_dvc(
    name: str,
    arguments: list[str],
    sweep: Sweep,
    locks: StageLocks,
    on_stage: Callable[[str], None],
    result_of: Callable[[int], str | None],
) -> str:
    """Runs DVC under a guard until it has a result, again while other processes hold its locks. Raises TrialError without one."""
    command = [sys.executable, "-m", "dvc", *arguments]
    for _ in range(ATTEMPTS):
        on_stage("waiting")
        lines: deque[str] = deque(maxlen=200)
        with locks, open(sweep.path / f"{name}.log", "a", encoding="utf-8") as log:
            on_stage("starting")
            log.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
            guarded = guard_command(command, sweep.path / f"{name}.guard", sweep.process)
            with _started(guarded, sweep.run_id, log) as process:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    lines.append(line.rstrip())
                    stage = STAGE_LINE.match(line)
                    if stage:
                        locks.enter_stage(stage.group(1))
                        on_stage(stage.group(1))
            result = result_of(process.returncode)
            if result is not None:
                locks.enter_stage(None)
                return result
        if not any(LOCKED.search(line) for line in lines):
            break
        time.sleep(random.uniform(*WAIT))
    raise TrialError(_reason(list(lines), process.returncode))


@contextmanager
def _started(command: list[str], parent_run: str, log: TextIO) -> Iterator[subprocess.Popen]:
    """Starts a process and waits for it at the end of the block. If the block raises, terminates it and logs its last output."""
    scripts = str(Path(sys.executable).parent)  # the stages' commands say `python`
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    root = {"DVC_ROOT": str(repository_root())}  # not the copy, whose folders are removed
    environment = os.environ | root | {PARENT_VARIABLE: parent_run, "PATH": path, "PYTHONUNBUFFERED": "1"}
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
