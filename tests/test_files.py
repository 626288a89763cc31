"""Atomic writes: temporary names are unique, and those of killed processes are removed."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from pipeline.console import UserError
from pipeline.files import atomic_file, atomic_folder, check_can_write

KILLED = """
import os, sys
from pathlib import Path
from pipeline.files import atomic_folder
with atomic_folder(Path(sys.argv[1])) as part:
    (part / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def parts(folder):
    return sorted(path.name for path in folder.glob(".*.part"))


def test_the_part_of_a_killed_process_is_removed_and_that_of_a_running_one_is_kept(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")])
    assert done.returncode == -signal.SIGKILL and len(parts(tmp_path)) == 1
    with atomic_folder(tmp_path / "out") as first:
        (first / "a").write_text("1")
        assert parts(tmp_path) == [first.name]
        with atomic_folder(tmp_path / "out") as second:  # as from another thread
            (second / "a").write_text("2")
            assert parts(tmp_path) == sorted([first.name, second.name])
        assert (tmp_path / "out/a").read_text() == "2"
    assert (tmp_path / "out/a").read_text() == "1" and parts(tmp_path) == []


def test_a_reused_process_number_does_not_keep_a_part(tmp_path):
    with atomic_folder(tmp_path / "out") as part:
        name = part.name
    earlier = re.sub(rf"\.{os.getpid()}-(\d+)", rf".{os.getpid()}-1\1", name)  # this process's number with another start time
    (tmp_path / earlier).mkdir()
    elsewhere = re.sub(r"-[0-9a-f]{8}\.", "-00000000.", earlier)  # of another machine, whose processes are unknown
    (tmp_path / elsewhere).mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert earlier != name and parts(tmp_path) == [elsewhere]


def test_threads_that_write_the_same_file_do_not_collide(tmp_path):
    both, read = threading.Barrier(2), {}

    def write(text):
        with atomic_file(tmp_path / "file") as part:
            part.write_text(text)
            both.wait(10)
            read[text] = part.read_text()

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == {"one": "one", "two": "two"}
    assert (tmp_path / "file").read_text() in read and parts(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 250, "跑" * 83], ids=["latin", "chinese"])
def test_a_name_of_the_largest_length_can_be_written(tmp_path, name):
    with atomic_file(tmp_path / name) as part:
        part.write_text("x")
    assert (tmp_path / name).read_text() == "x"


def test_a_path_is_checked_before_long_work(tmp_path):
    check_can_write(tmp_path / "new/file.csv")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    check_can_write(tmp_path / "file")  # is replaced
    with pytest.raises(UserError, match=r"file/e\.csv: cannot be written \(a folder of it is a file\)"):
        check_can_write(tmp_path / "file/e.csv")
    with pytest.raises(UserError, match=r"new: is a folder"):
        check_can_write(tmp_path / "new")
