"""Runs a trial's command and ends it, with all that it started, when the sweep that wanted it is gone.

A killed sweep leaves nothing running behind: this process, in a session of its own, watches the sweep and the process that runs
the trial, and passes an interrupt on to the command's whole group. DVC then puts the working copy back, and the stages keep their
checkpoints, and the killed sweep's MLflow run is closed, until the same command opens it again. While it lives it holds a lock of
the trial's, so that whoever runs the trial again waits until it is gone.
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

from stages.console import UserError, quiet_libraries, say
from stages.tracking.provenance import PARENT_VARIABLE

GRACE = 30.0  # seconds to put things back in, before it is killed
LOOK = 1.0  # seconds between two looks at who is alive


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _gone(watched: psutil.Process | None) -> bool:
    return watched is not None and not is_alive(watched)


def await_guard(lock: Path) -> None:
    """Waits until a guard that was left behind, if any, has ended its trial."""
    with open(lock, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {lock.stem} to end, whose process was killed")
            fcntl.flock(file, fcntl.LOCK_EX)


def supervise(command: list[str], watched: psutil.Process | None, lock: Path) -> int:
    """Runs `command` until it or `watched` or the parent of this process ends; returns its exit status."""
    parent = os.getppid()
    stopped = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: stopped.append(number))
    # A shell's background jobs ignore interrupts, and so would the child; what is handled here is reset for it.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    with open(lock, "a+") as file:  # on NFS a shared lock needs a file that can be read
        fcntl.flock(file, fcntl.LOCK_SH)
        child = subprocess.Popen(command, start_new_session=True)
        status = None
        while status is None:
            try:
                status = child.wait(timeout=LOOK)
            except subprocess.TimeoutExpired:
                if stopped or _gone(watched) or os.getppid() != parent:
                    status = _end(child)
        if _gone(watched) and PARENT_VARIABLE in os.environ:
            _close_sweep(os.environ[PARENT_VARIABLE])
        return status


def _end(child: subprocess.Popen) -> int:
    """Interrupts the child's group as Ctrl-C does; kills what is left of it when GRACE is over."""
    family = psutil.Process(child.pid).children(recursive=True)
    deadline = time.monotonic() + GRACE
    os.killpg(child.pid, signal.SIGINT)
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


def _close_sweep(run_id: str) -> None:
    quiet_libraries()
    from stages.tracking.sweeps import close_killed_sweep

    try:
        close_killed_sweep(run_id)
    except UserError as error:
        say(f"the killed sweep's MLflow run stays RUNNING: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.sweeping.guard", description=__doc__.splitlines()[0])
    parser.add_argument("--watch", type=int, help="process id of the sweep, where it is on this machine")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    try:
        watched = psutil.Process(options.watch) if options.watch else None
    except psutil.NoSuchProcess:
        sys.exit("the sweep is gone")
    sys.exit(supervise(command, watched, options.lock))


if __name__ == "__main__":
    main()
