"""Runs a trial's command, and terminates it and its child processes when the sweep no longer runs.

Invariants: a killed sweep leaves no process running. The guard runs in a session of its own, monitors the sweep and the process
that runs the trial, and interrupts the command's process group when either ends. DVC then restores the working copy, the stages
keep their checkpoints, and the killed sweep's MLflow run is marked KILLED. The guard holds the trial's lock while it runs, so a
second run of the trial waits for it.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from pipeline.console import UserError, quiet_libraries, say
from pipeline.processes import is_running
from pipeline.tracking.provenance import PARENT_VARIABLE

GRACE = 30.0  # seconds from an interrupt to a kill
POLL = 1.0  # seconds between two checks of the processes that are watched


def guard_command(command: list[str], lock: Path, sweep: str) -> list[str]:
    """The command line that runs `command` under a guard, for this process and the sweep with the identity `sweep`."""
    guard = [sys.executable, "-m", "pipeline.sweeping.guard", "--lock", str(lock), "--watch", sweep]
    return [*guard, "--parent", str(os.getpid()), "--", *command]


def await_guard(lock: Path) -> None:
    """Waits until the guard of an earlier, killed run has terminated the trial, if there is one."""
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting until {lock.stem} of a killed run has ended")
            fcntl.flock(file, fcntl.LOCK_EX)


def supervise(command: list[str], sweep: str, parent: int, lock: Path) -> int:
    """Runs `command` until it, the sweep or the parent of this process ends; returns its exit status.

    Args:
      sweep: the identity of the sweep's process (see pipeline.processes). A process on another machine cannot be monitored.
      parent: the process id that the parent passed. It differs from `os.getppid()` once the parent has ended.
    """
    stopped = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: stopped.append(number))
    # A shell's background jobs ignore SIGINT, and a child would inherit that. A handler is reset to the default in the child.
    signal.signal(signal.SIGINT, lambda number, frame: None)

    def must_stop() -> bool:
        return bool(stopped) or is_running(sweep) is False or os.getppid() != parent

    with open(lock, "a+") as file:  # on NFS a shared lock needs a file that can be read
        fcntl.flock(file, fcntl.LOCK_SH)
        status = 1 if must_stop() else None
        child = subprocess.Popen(command, start_new_session=True) if status is None else None
        while status is None:
            try:
                status = child.wait(timeout=POLL)
            except subprocess.TimeoutExpired:
                status = _end(child) if must_stop() else None
        if is_running(sweep) is False and PARENT_VARIABLE in os.environ:
            _mark_killed(os.environ[PARENT_VARIABLE])
        return status


def _end(child: subprocess.Popen) -> int:
    """Interrupts the child's process group, as Ctrl-C does; kills the processes that still run after GRACE seconds."""
    deadline = time.monotonic() + GRACE
    try:
        family = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:  # the child has ended
        family = []
    try:
        os.killpg(child.pid, signal.SIGINT)
    except ProcessLookupError:  # the whole group has ended
        pass
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
    _, alive = psutil.wait_procs(family, max(0.0, deadline - time.monotonic()))
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive)
    return child.wait()


def _mark_killed(run_id: str) -> None:
    quiet_libraries()
    from pipeline.tracking.sweeps import close_killed_sweep

    try:
        close_killed_sweep(run_id)
    except UserError as error:
        say(f"the killed sweep's MLflow run stays RUNNING: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.sweeping.guard", description=__doc__.splitlines()[0])
    parser.add_argument("--watch", required=True, help="identity of the sweep's process (see pipeline/processes.py)")
    parser.add_argument("--parent", type=int, required=True, help="process id of the process that starts the guard")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    sys.exit(supervise(options.command, options.watch, options.parent, options.lock))


if __name__ == "__main__":
    main()
