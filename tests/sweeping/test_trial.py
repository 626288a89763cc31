"""A launcher's process ends when its sweep does, however that vanishes."""

import subprocess
import sys

import pytest

from pipeline.processes import identity

WATCHING = """
import sys, threading, time
from pipeline.sweeping import trial
trial.watch_sweep(sys.argv[1])
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(20)
time.sleep(0.2)
print("alive")
"""


def ended_process() -> str:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    named = identity(child.pid)
    child.communicate()
    return named


def watching(sweep: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", WATCHING, sweep], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("sweep", [ended_process, lambda: f"{identity()}1"], ids=["ended", "its number is another process's"])
def test_it_ends_with_a_sweep_that_is_gone(sweep):
    assert watching(sweep()) == (1, "")


def test_it_continues_where_the_sweep_is_on_another_machine():
    assert watching("elsewhere:1:1") == (0, "alive")
