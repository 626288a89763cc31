import io
import socket
import stat
import struct
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources import archives
from pipeline.sources.archive_source import archive_clips
from pipeline.sources.archives import Archive
from tests.range_server import RangeServer
from tests.sources.clips import archive, digest, directory_start, noise, ucf_members

MEMBERS = ucf_members(size=20_000, classes=["Archery", "Biking"], groups=3)
CONTENT = archive(MEMBERS)
MEMBER = "UCF101/v_Biking_g02_c01.avi"


def in_members(content: bytes = CONTENT):
    start = directory_start(content)
    return lambda first, last: last < start


def nothing(count: int) -> None:
    pass


@pytest.fixture
def server():
    with RangeServer({"a.zip": CONTENT}) as running:
        yield running


def opened(server: RangeServer, retries: int = 3, timeout: float = 2.0) -> Archive:
    return Archive(server.url("a.zip"), retries, timeout)


def test_members_come_whole_and_cost_their_own_bytes(server, tmp_path):
    with opened(server) as remote:
        names = [name for name in MEMBERS if name.endswith(".avi")]
        assert remote.copy(MEMBER, tmp_path / "one.avi", nothing) == digest(MEMBERS[MEMBER])
        assert (tmp_path / "one.avi").read_bytes() == MEMBERS[MEMBER]
        before = server.requests, server.connections
        with ThreadPoolExecutor(4) as pool:
            hashes = list(pool.map(lambda name: remote.copy(name, tmp_path / name, nothing), names))
        assert hashes == [digest(MEMBERS[name]) for name in names]
        # One request per member, one connection per thread, and no second request for the index.
        assert server.requests - before[0] == len(names)
        assert server.connections - before[1] <= 4
        assert sum(first >= directory_start(CONTENT) for first, _ in server.ranges) <= 2


def test_a_few_small_members_of_a_large_index(tmp_path):
    content = archive({**ucf_members(size=50, groups=100), "UCF101/v_Big_g01_c01.avi": noise("big", 2_000_000)})
    with RangeServer({"a.zip": content}) as server, opened(server) as remote:
        remote.copy("UCF101/v_Big_g01_c01.avi", tmp_path / "big.avi", nothing)
        assert server.bytes < 1.05 * 2_000_000


@pytest.mark.parametrize("kind", ["busy", "cut", "reset", "flip", "shift"])
def test_transient_failures_are_retried_for_that_member(server, tmp_path, kind):
    counts = []
    server.misbehave(kind, times=2, where=in_members())
    with opened(server) as remote:
        assert remote.copy(MEMBER, tmp_path / "a.avi", counts.append) == digest(MEMBERS[MEMBER])
        assert remote.retries == 2
    assert sum(counts) == len(MEMBERS[MEMBER])
    assert (tmp_path / "a.avi").read_bytes() == MEMBERS[MEMBER]


def test_a_stall_ends_after_the_timeout(server, tmp_path):
    server.misbehave("stall", times=1, where=in_members())
    with opened(server, timeout=0.2) as remote:
        assert remote.copy(MEMBER, tmp_path / "a.avi", nothing) == digest(MEMBERS[MEMBER])
        assert remote.retries == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("busy", "busy .HTTP 503"),
        ("cut", "cut or the archive is truncated"),
        ("reset", "cannot reach 127.0.0.1: the connection broke"),
        ("flip", "damaged in the archive or on the way"),
        ("stall", r"no byte came within speed.download_timeout = 0\.2 s"),
        ("denied", r"access denied \(HTTP 403\)"),
    ],
)
def test_lasting_failures_name_the_member_and_leave_no_file(server, tmp_path, kind, message):
    server.misbehave(kind, times=100, where=in_members())
    with opened(server, retries=1, timeout=0.2) as remote:
        with pytest.raises(UserError, match=f"{MEMBER}: .*{message}.*kept") as caught:
            remote.copy(MEMBER, tmp_path / "a.avi", nothing)
        assert remote.retries == (0 if kind == "denied" else 1)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["busy", "cut", "reset", "stall"])
def test_reading_the_index_is_retried(server, kind):
    server.misbehave(kind, times=2)
    with opened(server, timeout=0.2) as remote:
        assert MEMBER in remote.members


def test_servers_that_know_only_ranges_from_the_start(tmp_path):
    with RangeServer({"a.zip": CONTENT}, accept_suffix=False) as server, opened(server) as remote:
        assert remote.copy(MEMBER, tmp_path / "a.avi", nothing) == digest(MEMBERS[MEMBER])


@pytest.mark.parametrize(
    ("files", "options", "name", "message"),
    [
        ({}, {}, "a.zip", r"not found \(HTTP 404\)"),
        ({"a.zip": b"<html>no zip here</html>" * 400}, {}, "a.zip", "not a whole zip archive"),
        ({"a.zip": b"tiny"}, {}, "a.zip", "byte range.*too small"),
        ({"a.zip": b""}, {}, "a.zip", "byte range.*empty"),
        ({"a.zip": CONTENT[: len(CONTENT) // 2]}, {}, "a.zip", "not a whole zip archive.*truncated"),
    ],
)
def test_archives_that_cannot_be_opened(files, options, name, message):
    with RangeServer(files, **options) as server:
        with pytest.raises(UserError, match=message) as caught:
            Archive(server.url(name), 1, 2.0)
        assert server.url(name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_without_ranges_is_not_read_to_its_end():
    with RangeServer({"a.zip": bytes(60_000_000)}, accept_ranges=False) as server:
        with pytest.raises(UserError, match="does not support range requests; fetch the archive whole"):
            Archive(server.url("a.zip"), 1, 2.0)
        assert server.bytes < 30_000_000


def test_unreachable_servers():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot reach 127\.0\.0\.1: the connection was refused"):
        Archive(f"http://127.0.0.1:{port}/a.zip", 1, 1.0)
    with pytest.raises(UserError, match=r"cannot reach|HTTP|does not resolve"):
        Archive("https://no-such-host.invalid/a.zip", 0, 1.0)
    with pytest.raises(UserError, match="only http and https"):
        Archive("gs://bucket/a.zip", 0, 1.0)


def test_local_archives(tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    with Archive(str(tmp_path / "a.zip"), 3, 1.0) as local:
        assert local.copy(MEMBER, tmp_path / "a.avi", nothing) == digest(MEMBERS[MEMBER])
    with pytest.raises(UserError, match="not found"):
        Archive(str(tmp_path / "none.zip"), 3, 1.0)
    with pytest.raises(UserError, match=r"data\.folder"):
        Archive(str(tmp_path), 3, 1.0)
    (tmp_path / "half.zip").write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(UserError, match="not a whole zip archive"):
        Archive(str(tmp_path / "half.zip"), 3, 1.0)


def damaged(content: bytes, name: str) -> bytes:
    """The archive with a byte of a stored member changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        place = file.getinfo(name).header_offset + 30 + len(name) + 100
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_a_damaged_member_of_a_local_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(damaged(archive(MEMBERS, zipfile.ZIP_STORED), MEMBER))
    with Archive(str(tmp_path / "a.zip"), 3, 1.0) as local, pytest.raises(UserError, match=rf"{MEMBER}: damaged.*CRC"):
        local.copy(MEMBER, tmp_path / "a.avi", nothing)
    assert not (tmp_path / "a.avi").exists()


def marked(content: bytes, *, flag: int = 0, method: int | None = None) -> bytes:
    """The archive with a flag or a compression method set in every header."""
    changed = bytearray(content)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            changed[at + flags] |= flag
            if method is not None:
                struct.pack_into("<H", changed, at + flags + 2, method)
            at = content.find(signature, at + 4)
    return bytes(changed)


@pytest.mark.parametrize(("how", "message"), [({"flag": 1}, "is encrypted"), ({"method": 9}, "compression")])
def test_members_that_cannot_be_read(tmp_path, how, message):
    (tmp_path / "a.zip").write_bytes(marked(archive({"jump/1.mp4": b"x" * 50}), **how))
    with Archive(str(tmp_path / "a.zip"), 0, 1.0) as local, pytest.raises(UserError, match=f"jump/1.mp4.*{message}"):
        local.copy("jump/1.mp4", tmp_path / "a.mp4", nothing)


def test_a_full_disk_is_said(server, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, chunk):
            raise OSError(28, "No space left on device")

    whole = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode="r", **more: Full() if mode == "wb" else whole(self, mode, **more))
    with opened(server) as remote, pytest.raises(UserError, match="disk is full"):
        remote.copy(MEMBER, tmp_path / "a.avi", nothing)
    assert remote.retries == 0


def test_stopping_ends_a_copy(server, tmp_path, monkeypatch):
    server.misbehave("busy", times=1000, where=in_members())
    monkeypatch.setattr(archives, "FIRST_WAIT", 30.0)
    with opened(server, retries=1000) as remote, ThreadPoolExecutor(1) as pool:
        future = pool.submit(remote.copy, MEMBER, tmp_path / "a.avi", nothing)
        threading.Timer(0.2, remote.stop).start()
        with pytest.raises(archives.StoppedError):
            future.result(timeout=5)


def test_clips_of_an_archive(tmp_path):
    members = {**MEMBERS, "__MACOSX/UCF101/._v_A_g01_c01.avi": b"2", "loose.mp4": b"3", "UCF101/lists/a.txt": b"4"}
    (tmp_path / "a.zip").write_bytes(archive(members))
    with Archive(str(tmp_path / "a.zip"), 0, 1.0) as local:
        found = archive_clips(local)
    assert len(found.clips) == 2 * 3 * 2
    assert {clip.category for clip in found.clips} == {"Archery", "Biking"}
    assert found.layout == "layout v_<Class>_gNN_cNN (UCF-101's names) below UCF101; 2 classes (Archery, Biking), 12 videos"
    assert found.left_out.line() == (
        "left out: 1 hidden file (__MACOSX/UCF101/._v_A_g01_c01.avi); 1 video outside the class folders (loose.mp4); "
        "2 files that are not videos (.txt 2)"
    )


def test_archives_have_the_layouts_that_folders_have(tmp_path):
    videos = {f"data/{s}/{c}/{n}.mts": b"x" for s in ("train", "val", "test") for c in ("run", "walk") for n in range(2)}
    frames = {f"{c}/clip{n}/{k:06d}.jpg": bytes([k]) for c in ("run", "walk") for n in range(2) for k in range(3)}
    found = {}
    for name, members in {"videos": videos, "frames": frames}.items():
        (tmp_path / "a.zip").write_bytes(archive(members))
        with Archive(str(tmp_path / "a.zip"), 0, 1.0) as local:
            found[name] = archive_clips(local)
    assert {clip.split for clip in found["videos"].clips} == {"train", "validation", "test"}
    assert "<split>/<class>/<video> below data" in found["videos"].layout
    clip = found["frames"].clips[0]
    assert (clip.source, clip.category, clip.size) == ("run/clip0", "run", 3)
    assert clip.images == ("000000.jpg", "000001.jpg", "000002.jpg")
    assert found["frames"].layout.startswith("layout <class>/<clip>/<image>; 2 classes (run, walk), 4 folders of images")


def link() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        info = zipfile.ZipInfo("jump/1.mp4")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive({"../jump/1.mp4": b"x"}), "unsafe path"),
        (archive({"/jump/1.mp4": b"x"}), "unsafe path"),
        (archive({"jump\\..\\..\\1.mp4": b"x"}), "unsafe path"),
        (link(), "symbolic link"),
    ],
    ids=[
        "above",
        "absolute",
        "backslashes",
        "link",
    ],  # a zip contains the time, and all workers must collect the same names
)
def test_archives_that_would_write_elsewhere_are_refused(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    with Archive(str(tmp_path / "a.zip"), 0, 1.0) as local, pytest.raises(UserError, match=message):
        archive_clips(local)
