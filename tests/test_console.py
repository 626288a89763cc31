"""What reaches the terminal."""

import os
import threading

import pytest

from stages.console import without_chatter

LINES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"W0000 00:00:1795251647.434733   14923 tf_tfl_flatbuffer_helpers.cc:364] Ignored output_format.\n",
    b"E0000 00:00:1795251647.434733   14923 tf_tfl_flatbuffer_helpers.cc:364] this is an error\n",
    b"Warning: of something else, 0000\n",
)


def test_libraries_notices_are_withheld_and_everything_else_is_shown(capfd):
    with without_chatter():
        for line in LINES:
            os.write(2, line)
    os.write(2, LINES[0])  # no longer withheld
    assert capfd.readouterr().err.encode() == LINES[2] + LINES[3] + LINES[0]


def test_what_was_said_before_an_exception_is_shown(capfd):
    with pytest.raises(ZeroDivisionError), without_chatter():
        os.write(2, LINES[3])
        raise ZeroDivisionError
    assert capfd.readouterr().err.encode() == LINES[3]


def test_threads_take_turns_and_leave_the_terminal_as_it_was(capfd):
    def other():
        with without_chatter():
            os.write(2, LINES[3])

    thread = threading.Thread(target=other)
    with without_chatter():
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        os.write(2, LINES[2])
    thread.join()
    os.write(2, LINES[0])
    assert capfd.readouterr().err.encode() == LINES[2] + LINES[3] + LINES[0]
