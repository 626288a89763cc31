"""Terminal output: filters, errors and interrupts."""

import copy
import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import pytest

from pipeline.console import UserError, without_chatter
from pipeline.video.decode import BrokenVideo

LINES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"W0000 00:00:1795251647.434733   14923 tf_tfl_flatbuffer_helpers.cc:364] Ignored output_format.\n",
    b"E0000 00:00:1795251647.434733   14923 tf_tfl_flatbuffer_helpers.cc:364] this is an error\n",
    b"Warning: of something else, 0000\n",
)


def test_messages_of_libraries_are_filtered_and_everything_else_is_shown(capfd):
    with without_chatter():
        for line in LINES:
            os.write(2, line)
    os.write(2, LINES[0])  # no longer filtered
    assert capfd.readouterr().err.encode() == LINES[2] + LINES[3] + LINES[0]


def test_output_before_an_exception_is_shown(capfd):
    with pytest.raises(ZeroDivisionError), without_chatter():
        os.write(2, LINES[3])
        raise ZeroDivisionError
    assert capfd.readouterr().err.encode() == LINES[3]


def test_threads_take_turns_and_restore_stderr(capfd):
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


def test_the_text_of_a_user_error_is_message_and_advice():
    error = UserError("clips.csv: no clips; two were left out", advice="list some; see the README")
    assert (error.message, error.advice) == ("clips.csv: no clips; two were left out", "list some; see the README")
    assert str(error) == "clips.csv: no clips; two were left out; list some; see the README"
    assert str(UserError("clips.csv: no clips")) == "clips.csv: no clips"


class NamedFileError(UserError):
    """A subclass with other arguments and further attributes."""

    def __init__(self, path, *, line):
        super().__init__(f"{path}, line {line}: empty", advice="fill it")
        self.path, self.line = path, line


@pytest.mark.parametrize("send", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickled", "copied"])
@pytest.mark.parametrize(
    "error",
    [UserError("a"), UserError("a", advice="b"), NamedFileError("x.csv", line=3), BrokenVideo("x.mp4", "truncated")],
    ids=lambda error: type(error).__name__,
)
def test_a_user_error_survives_pickling_and_copying(error, send):
    got = send(error)
    assert type(got) is type(error) and vars(got) == vars(error) and str(got) == str(error)


def test_a_user_error_is_raised_from_a_worker_process():
    def fail():
        raise NamedFileError("x.csv", line=3)

    with pytest.raises(UserError, match=r"x\.csv, line 3: empty; fill it") as raised:
        joblib.Parallel(n_jobs=2)(joblib.delayed(fail)() for _ in range(2))
    assert (raised.value.advice, raised.value.line) == ("fill it", 3)


INTERRUPTED = """
import sys
from pipeline.console import RESUMES, STARTS_OVER, run_command

def main():
    raise KeyboardInterrupt

run_command(main{})
"""


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("", "interrupted\n"),
        (", interrupted=RESUMES", "interrupted; run the same command again to resume where it stopped\n"),
        (", interrupted=STARTS_OVER", "interrupted; run the same command again to start over\n"),
    ],
)
def test_an_interrupt_prints_whether_the_command_resumes(argument, line):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED.format(argument)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, line)


def test_every_command_states_whether_it_resumes():
    """That they resume is checked by their own tests."""
    found = {}
    root = Path(__file__).parent.parent
    for path in sorted(
        path for folder in ("stages", "commands", "benchmarks", "pipeline") for path in (root / folder).rglob("*.py")
    ):
        call = re.search(r"^    run_command\(main(?:, interrupted=(.+))?\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if call:
            found.setdefault(call[1], set()).add(path.stem)
    assert found["RESUMES"] == {"download", "extract", "embed", "finetune", "sweep"}
    assert found["STARTS_OVER"] == {"evaluate", "export", "report", "inspect", "sample", "compare", "run", "scale", "latency"}
    assert found[None] == {"cache", "doctor", "evaluate_events", "ui", "dask_launcher"}
    (events,) = found.keys() - {"RESUMES", "STARTS_OVER", None}
    assert found[events] == {"predict"} and events.startswith("RESUMES if ") and "--events" in events


ABORTED = """
import os
from pipeline.console import without_chatter
with without_chatter():
    os.write(2, b"I0000 00:00:1795251647.434733   14923 file.cc:1] information\\n")
    os.write(2, b"F0000 00:00:1795251647.434733   14923 file.cc:2] Check failed: size > 0\\n")
    os.write(2, b"and no end of line")
    os.{}
"""


@pytest.mark.parametrize("end", ["abort()", "kill(os.getpid(), 9)", "_exit(3)"])
def test_output_before_the_process_ends_is_shown(end):
    done = subprocess.run([sys.executable, "-c", ABORTED.format(end)], capture_output=True, timeout=60)
    assert done.returncode != 0
    assert done.stderr == (b"F0000 00:00:1795251647.434733   14923 file.cc:2] Check failed: size > 0\nand no end of line")


def test_a_child_process_does_not_delay_the_end(capfd):
    with without_chatter():
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        os.write(2, LINES[2])
    assert capfd.readouterr().err.encode() == LINES[2]
    child.communicate(timeout=20)


def test_output_without_line_ends_is_shown_at_the_end(capfd):
    with without_chatter():
        os.write(2, b"\r 50%")
        os.write(2, b"\r100%")
    assert capfd.readouterr().err == "\r 50%\r100%"


@pytest.mark.parametrize(("main", "message"), [("print('x' * 100_000)", ""), ("raise BrokenPipeError('another')", "another")])
def test_a_reader_of_stdout_that_goes_away_is_no_traceback(main, message):
    code = f"import sys; from pipeline.console import run_command; sys.stdin.read(); run_command(lambda: exec({main!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), text=True
    )
    if not message:
        process.stdout.close()
    process.stdin.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert errors.strip().splitlines()[-1:] == ([f"BrokenPipeError: {message}"] if message else [])


def test_a_command_exits_without_collecting_garbage_from_all_objects():
    code = """
import atexit, gc
from pipeline.console import run_command
atexit.register(lambda: print(gc.get_freeze_count() > 1000, gc.get_threshold()[0]))  # runs after what run_command registers
run_command(lambda: None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True 50000\n", done.stderr
