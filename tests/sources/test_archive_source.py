import io
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources.archive_source import archive_clips, fetch_clips
from pipeline.sources.archives import Archive
from pipeline.sources.source import Stored
from pipeline.sources.threads import in_threads
from tests.range_server import RangeServer
from tests.sources.clips import archive, digest, directory_start, ucf_members

MEMBERS = ucf_members(size=20_000, classes=["Archery", "Biking"], groups=3)
CONTENT = archive(MEMBERS)
VIDEOS = sorted(name for name in MEMBERS if name.endswith(".avi"))


def fetch(server: RangeServer, folder: Path, number: int | None = None, retries: int = 2) -> Stored:
    with Archive(server.url("a.zip"), retries, 2.0) as remote:
        return fetch_clips(remote, archive_clips(remote).clips[:number], folder, threads=3)


def test_only_what_is_not_there_whole_is_fetched(tmp_path):
    with RangeServer({"a.zip": CONTENT}) as server:
        first = fetch(server, tmp_path, 5)
        assert first.sha256 == {name: digest(MEMBERS[name]) for name in VIDEOS[:5]}
        assert first.fetched == set(VIDEOS[:5])
        (tmp_path / VIDEOS[0]).write_bytes(MEMBERS[VIDEOS[0]][:-1])  # another size
        (tmp_path / VIDEOS[1]).write_bytes(MEMBERS[VIDEOS[2]])  # the size, but not the content
        server.reset_counts()
        second = fetch(server, tmp_path)
        assert second.sha256 == {name: digest(MEMBERS[name]) for name in VIDEOS}
        assert second.fetched == {*VIDEOS[:2], *VIDEOS[5:]}
        assert sum(last < directory_start(CONTENT) for _, last in server.ranges) == len(second.fetched)
        assert all((tmp_path / name).read_bytes() == MEMBERS[name] for name in VIDEOS)


def test_a_failure_keeps_what_came_before_and_the_parts_of_a_killed_run_go(tmp_path):
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as file:
        bad = file.getinfo(VIDEOS[6]).header_offset
    with RangeServer({"a.zip": CONTENT}) as server:
        server.misbehave("flip", times=3, where=lambda first, last: first == bad)
        with pytest.raises(UserError, match=f"{VIDEOS[6]}: damaged"):
            fetch(server, tmp_path)
        kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.avi"))
        assert kept and all((tmp_path / name).read_bytes() == MEMBERS[name] for name in kept)
        assert not list(tmp_path.rglob("*.part"))
        (tmp_path / "UCF101/.v_Archery_g01_c01.avi.99999.part").write_bytes(b"half")
        assert len(fetch(server, tmp_path).fetched) == len(VIDEOS) - len(kept)
        assert not list(tmp_path.rglob("*.part"))


def test_concurrent_runs_fetch_once(tmp_path):
    with RangeServer({"a.zip": CONTENT}) as server:
        results = []
        threads = [threading.Thread(target=lambda: results.append(fetch(server, tmp_path))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(len(result.fetched) for result in results) == [0, len(VIDEOS)]


def test_after_a_failure_nothing_new_starts():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise UserError("no")
        stopped.wait(5)
        return item

    stopped = threading.Event()
    with pytest.raises(UserError, match="no"):
        in_threads(work, range(100), 2, stopped.set)
    assert len(begun) < 10
    assert in_threads(lambda item: item * 2, [1, 2, 3], 2) == {1: 2, 2: 4, 3: 6}
