"""A process is identified by its id and its start, and may end at any moment; a child process returns what it computed."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from pipeline import processes
from pipeline.console import UserError
from pipeline.processes import call_in_child, identity, is_running, machine


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


@pytest.mark.parametrize("platform", ["linux", "darwin"])  # a fork, a new process
def test_a_child_process_returns_the_result(monkeypatch, platform):
    monkeypatch.setattr(processes.sys, "platform", platform)
    assert call_in_child(divmod, 7, 2)() == (3, 1)


def test_a_child_runs_next_to_its_parent_and_its_errors_are_raised_there():
    pid = call_in_child(os.getpid)
    assert pid() != os.getpid()

    def fail():
        raise UserError("a.csv: broken", advice="run `dvc repro`")

    with pytest.raises(UserError, match=r"a\.csv: broken") as caught:
        call_in_child(fail)()
    assert caught.value.advice == "run `dvc repro`"
    assert "in fail" in caught.value.__notes__[0]  # where, in the child


def test_a_killed_child_is_an_error():
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ChildProcessError, match=r"die: its process ended with status -9"):
        call_in_child(die)()
