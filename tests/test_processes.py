"""A process is known by its id and its beginning, and may vanish at any moment."""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from pipeline import processes
from pipeline.processes import identity, is_running, machine, machine_of


def test_a_process_runs_until_it_ends_even_where_nobody_has_waited_for_it():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert machine_of(named) == machine() and machine().startswith(socket.gethostname()) and is_running(named)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still there as a zombie
    assert psutil.pid_exists(child.pid) and not is_running(named)
    child.wait()
    assert not is_running(named)
    with pytest.raises(ProcessLookupError):
        identity(child.pid)


def test_another_process_that_got_the_number_is_not_the_one_that_was_meant():
    here, number, began = identity().split(":")
    assert is_running(f"{here}:{number}:{began}")
    assert is_running(f"{here}:{number}:{began}1") is False


def test_of_another_machines_process_nothing_is_known():
    _, number, began = identity().split(":")
    assert is_running(f"{socket.gethostname()}/1:{number}:{began}") is None  # a container of this host's name


def test_a_name_with_anything_in_it_hides_nothing(tmp_path):
    path = tmp_path / "a) Z 1 (b"
    path.symlink_to(sys.executable)
    child = subprocess.Popen([path, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert is_running(identity(child.pid))
    child.communicate()


def test_without_proc_the_system_is_asked(monkeypatch):
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    assert is_running(named)
    child.communicate()
    assert not is_running(named)


def test_a_process_that_vanishes_as_it_is_looked_at_is_gone(monkeypatch):
    named = identity()

    def vanished(*arguments):
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(processes.sys, "platform", "darwin")
    monkeypatch.setattr(psutil.Process, "status", vanished)
    assert not is_running(named)
