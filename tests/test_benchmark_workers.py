"""The benchmark's child processes: what they give, what they say, what they hold, and how they end."""

import os

import pytest

from benchmarks.workers import ChildProcess
from pipeline.console import UserError


def _dies() -> None:
    os._exit(9)


def _large() -> int:
    return len(bytearray(200 * 2**20))


def _fails() -> None:
    raise UserError("mend this")


def _writes() -> None:
    os.write(2, b"I0000 00:00:1795273665.015029    4085 device_compiler.h:196] Compiled cluster using XLA!\nsomething else\n")


def test_of_what_a_child_writes_only_chatter_is_withheld(capfd):
    with ChildProcess("a test") as child:
        child.run(_writes)
    assert capfd.readouterr().err == "something else\n"


def test_a_child_says_what_went_wrong_and_its_memory_is_seen():
    with ChildProcess("a test") as child:
        assert child.run(os.getpid) != os.getpid()
        with pytest.raises(UserError, match="mend this"):
            child.run(_fails)
        before = child.run_watched(os.getpid)[1]
        size, peak = child.run_watched(_large)
        assert size == 200 * 2**20
        assert peak >= before > 2**20
        with pytest.raises(UserError, match="a test was killed"):
            child.run(_dies)
