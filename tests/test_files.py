"""Files that appear whole: parts are nobody else's, and those of a process that was killed are cleared away."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from pipeline.files import atomic_file, atomic_folder

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


def test_a_killed_writers_part_is_cleared_away_by_the_next_and_a_living_ones_stays(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")])
    assert done.returncode == -signal.SIGKILL and len(parts(tmp_path)) == 1
    with atomic_folder(tmp_path / "out") as living:
        (living / "a").write_text("1")
        assert parts(tmp_path) == [living.name]
        with atomic_folder(tmp_path / "out") as second:  # as from another thread
            (second / "a").write_text("2")
            assert parts(tmp_path) == sorted([living.name, second.name])
        assert (tmp_path / "out/a").read_text() == "2"
    assert (tmp_path / "out/a").read_text() == "1" and parts(tmp_path) == []


def test_a_part_whose_number_another_process_has_now_is_a_killed_ones(tmp_path):
    with atomic_folder(tmp_path / "out") as part:
        name = part.name
    earlier = re.sub(rf"\.{os.getpid()}-(\d+)", rf".{os.getpid()}-1\1", name)  # this process's number, begun at another time
    (tmp_path / earlier).mkdir()
    elsewhere = re.sub(r"-[0-9a-f]{8}\.", "-00000000.", earlier)  # another machine's: nothing is known of it
    (tmp_path / elsewhere).mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert earlier != name and parts(tmp_path) == [elsewhere]


def test_threads_that_write_one_file_do_not_meet(tmp_path):
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
def test_a_name_as_long_as_a_file_system_allows_can_be_written(tmp_path, name):
    with atomic_file(tmp_path / name) as part:
        part.write_text("x")
    assert (tmp_path / name).read_text() == "x"
