"""Identifies processes across restarts and machines: a process id alone is ambiguous, because the system reuses it.

A machine is anything with its own process id namespace: a host, or a container that may share the host's name.

Invariants: checking a process that exits at that moment raises nothing. A zombie does not count as running.
"""

import os
import socket
import sys
from pathlib import Path

import psutil

__all__ = ["identity", "is_running", "machine"]


def machine() -> str:
    """This machine: the host name and, on Linux, the process id namespace (pid_namespaces(7))."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.stat().st_ino}" if namespace.exists() else socket.gethostname()


def identity(process_id: int | None = None) -> str:
    """Returns `<machine>:<process id>:<start time>` of a running process, by default this one.

    Raises ProcessLookupError if it is not running.
    """
    number = os.getpid() if process_id is None else process_id
    began = _began(number)
    if began is None:
        raise ProcessLookupError(f"no process {number} is running")
    return f"{machine()}:{number}:{began}"


def is_running(identity: str) -> bool | None:
    """Whether the process that `identity` names still runs; None where it is on another machine, whose processes are not seen."""
    host, number, began = identity.split(":")
    return _began(int(number)) == began if host == machine() else None


def _began(process_id: int) -> str | None:
    """When a process began; None where it does not run. On Linux counted from the system's start, so that no clock changes it."""
    try:
        if sys.platform == "linux":
            # The name, in parentheses, may hold anything; the state is the field after it, the start the twentieth (proc(5)).
            fields = Path(f"/proc/{process_id}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return None if fields[0] in ("Z", "X") else fields[19]
        process = psutil.Process(process_id)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):  # psutil's ZombieProcess is a NoSuchProcess
        return None
