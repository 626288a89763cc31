"""The benchmark's child processes: what they give, what they say, what they hold, and how they end."""

import os

import pytest

from benchmarks.workers import one_side
from pipeline.console import UserError


def _dies() -> None:
    os._exit(9)


def _large() -> int:
    return len(bytearray(200 * 2**20))


def _fails() -> None:
    raise UserError("mend this")


def _writes() -> None:
    os.write(2, b"I0000 00:00:1795273665.015029    4085 device_compiler.h:196] Compiled cluster using XLA!\nsomething else\n")


def test_of_what_a_side_writes_only_chatter_is_withheld(capfd):
    with one_side("a test") as side:
        side.run(_writes)
    assert capfd.readouterr().err == "something else\n"


def test_a_side_says_what_went_wrong_and_sees_memory():
    with one_side("a test") as side:
        assert side.run(os.getpid) != os.getpid()
        with pytest.raises(UserError, match="mend this"):
            side.run(_fails)
        before = side.run_watched(os.getpid)[1]
        size, peak = side.run_watched(_large)
        assert size == 200 * 2**20
        assert peak >= before > 2**20
        with pytest.raises(UserError, match="a test was killed"):
            side.run(_dies)
