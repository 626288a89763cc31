"""Runs a trial's command and ends it, with all that it started, when the sweep that wanted it is gone.

A killed sweep leaves nothing running: this process, in a session of its own, watches the sweep and the process that runs the
trial, and interrupts the command's whole group when either ends. DVC then puts the working copy back, the stages keep their
checkpoints, and the killed sweep's MLflow run is marked KILLED. The guard holds a lock of the trial for as long as it lives, so
that whoever runs the trial again waits for it.
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
    """Waits until a guard that was left behind, if any, has ended its trial."""
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {lock.stem} to end, whose process was killed")
            fcntl.flock(file, fcntl.LOCK_EX)


def supervise(command: list[str], sweep: str, parent: int, lock: Path) -> int:
    """Runs `command` until it, the sweep or the parent of this process ends; returns its exit status.

    Args:
      sweep: its identity (see pipeline.processes); one on another machine is not watched.
      parent: the process id of what started this one, as it states itself: the system may have given this one another parent.
    """
    stopped = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: stopped.append(number))
    # A shell's background jobs ignore interrupts, and so would the child; what is handled here is reset for it.
    signal.signal(signal.SIGINT, lambda number, frame: None)

    def unwanted() -> bool:
        return bool(stopped) or is_running(sweep) is False or os.getppid() != parent

    with open(lock, "a+") as file:  # on NFS a shared lock needs a file that can be read
        fcntl.flock(file, fcntl.LOCK_SH)
        status = 1 if unwanted() else None
        child = subprocess.Popen(command, start_new_session=True) if status is None else None
        while status is None:
            try:
                status = child.wait(timeout=POLL)
            except subprocess.TimeoutExpired:
                status = _end(child) if unwanted() else None
        if is_running(sweep) is False and PARENT_VARIABLE in os.environ:
            _mark_killed(os.environ[PARENT_VARIABLE])
        return status


def _end(child: subprocess.Popen) -> int:
    """Interrupts the child's group as Ctrl-C does; kills what is left of it when GRACE is over."""
    deadline = time.monotonic() + GRACE
    try:
        family = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:  # it has just ended
        family = []
    try:
        os.killpg(child.pid, signal.SIGINT)
    except ProcessLookupError:  # so has what it started in its group
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
    parser.add_argument("--watch", required=True, help="identity of the sweep (see pipeline/processes.py)")
    parser.add_argument("--parent", type=int, required=True, help="process id of what starts this")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args()
    sys.exit(supervise(options.command, options.watch, options.parent, options.lock))


if __name__ == "__main__":
    main()
