"""A process is identified by its id and its start, and may end at any moment."""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from pipeline import processes
from pipeline.processes import identity, is_running, machine


def test_a_zombie_does_not_count_as_running():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert named.startswith(f"{machine()}:") and machine().startswith(socket.gethostname()) and is_running(named)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still there as a zombie
    assert psutil.pid_exists(child.pid) and not is_running(named)
    child.wait()
    assert not is_running(named)
    with pytest.raises(ProcessLookupError):
        identity(child.pid)


def test_a_process_with_a_reused_number_is_another_one():
    here, number, began = identity().split(":")
    assert is_running(f"{here}:{number}:{began}")
    assert is_running(f"{here}:{number}:{began}1") is False


def test_processes_of_another_machine_are_unknown():
    _, number, began = identity().split(":")
    assert is_running(f"{socket.gethostname()}/1:{number}:{began}") is None  # a container of this host's name


def test_a_name_with_parentheses_and_spaces(tmp_path):
    path = tmp_path / "a) Z 1 (b"
    path.symlink_to(sys.executable)
    child = subprocess.Popen([path, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert is_running(identity(child.pid))
    child.communicate()


def test_without_proc_psutil_is_used(monkeypatch):
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert is_running(named)
    child.communicate()
    assert not is_running(named)


def test_a_process_that_ends_during_the_check_does_not_run(monkeypatch):
    named = identity()

    def vanished(*arguments):
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(processes.sys, "platform", "darwin")
    monkeypatch.setattr(psutil.Process, "status", vanished)
    assert not is_running(named)
