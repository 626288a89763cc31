"""The guard ends a trial when its sweep is gone, and says how it ended when it is not."""

import fcntl
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.processes import identity
from pipeline.sweeping import guard as guarding
from pipeline.tracking.provenance import PARENT_VARIABLE

ROOT = Path(__file__).parent.parent.parent
# Two generations, as DVC and a stage; both note what ends them.
CHILD = """
import signal, subprocess, sys, time
from pathlib import Path
note = Path(sys.argv[1])
inner = subprocess.Popen([sys.executable, '-c', "import time; time.sleep(60)"])
note.write_text(str(inner.pid))
try:
    inner.wait()
    time.sleep(60)
except KeyboardInterrupt:
    inner.wait()
    note.with_suffix('.ended').write_text('interrupted')
"""


def guard(tmp_path, *command, watch=None, parent=None):
    arguments = [sys.executable, "-m", "pipeline.sweeping.guard", "--lock", str(tmp_path / "lock")]
    arguments += ["--watch", watch or "elsewhere:1:1", "--parent", str(parent or os.getpid())]
    ignoring = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # as in a shell's background jobs
    return subprocess.Popen([*arguments, "--", *command], cwd=ROOT, start_new_session=True, preexec_fn=ignoring)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def locked(path):
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_exit_status_is_the_commands(tmp_path):
    assert guard(tmp_path, sys.executable, "-c", "raise SystemExit(7)").wait(30) == 7
    assert not locked(tmp_path / "lock")


def test_a_killed_sweep_leaves_nothing_running(tmp_path):
    sweep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note = tmp_path / "note"
    process = guard(tmp_path, sys.executable, "-c", CHILD, str(note), watch=identity(sweep.pid))
    until(lambda: note.exists() and note.read_text())
    assert locked(tmp_path / "lock")
    inner = int(note.read_text())
    sweep.send_signal(signal.SIGKILL)  # and not waited for: a process that has ended, though its number is still taken
    process.wait(20)
    sweep.wait()
    assert note.with_suffix(".ended").read_text() == "interrupted"
    until(lambda: not psutil.pid_exists(inner))
    assert not locked(tmp_path / "lock")


@pytest.mark.slow
def test_the_run_of_a_killed_sweep_is_marked_killed_and_no_other(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    statuses = {}
    for case in ("killed", "failed", "alive"):
        run_id = client.create_run("0").info.run_id
        if case == "failed":
            client.set_terminated(run_id, "FAILED")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv(PARENT_VARIABLE, run_id)
        sweep = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        note = tmp_path / f"note-{case}"
        process = guard(tmp_path, sys.executable, "-c", CHILD, str(note), watch=identity(sweep.pid))
        until(lambda note=note: note.exists() and note.read_text())
        if case == "alive":
            process.terminate()
        else:
            sweep.kill()
            sweep.wait()
        process.wait(60)
        sweep.kill()
        sweep.wait()
        statuses[case] = client.get_run(run_id).info.status
    assert statuses == {"killed": "KILLED", "failed": "FAILED", "alive": "RUNNING"}


def test_a_terminated_trial_is_interrupted(tmp_path):
    note = tmp_path / "note"
    process = guard(tmp_path, sys.executable, "-c", CHILD, str(note), watch=identity())
    until(lambda: note.exists() and note.read_text())
    process.terminate()
    process.wait(20)
    assert note.with_suffix(".ended").read_text() == "interrupted"


def test_a_trial_without_sweep_or_parent_is_not_started(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    sweep = identity(ended.pid)
    ended.communicate()
    reused = f"{identity()}1"  # its number is another process's now: this one's
    for gone in ({"watch": sweep}, {"watch": reused}, {"parent": 1}):
        assert guard(tmp_path, sys.executable, "-c", f"open({str(tmp_path / 'began')!r}, 'w')", **gone).wait(30) == 1
    assert not (tmp_path / "began").exists()


def test_ending_a_command_that_has_just_ended(monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], start_new_session=True)
    child.wait()  # nothing of it is left to interrupt, and its number may be anybody's
    assert guarding._end(child) == 3
