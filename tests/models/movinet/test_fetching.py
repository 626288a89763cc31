"""Downloads from a faulty server: they are retried, resumed, verified, and complete or absent."""

import base64
import hashlib
import json

import pytest

from pipeline.console import UserError
from pipeline.models.movinet.network.weights import fetching
from pipeline.models.movinet.network.weights.fetching import Expected, download
from tests.range_server import RangeServer

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(fetching, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(fetching, "TIMEOUT", 0.3)


@pytest.fixture
def server():
    with RangeServer({"w.tar": CONTENT}) as server:
        server.etags["w.tar"] = '"one"'
        yield server


def leftovers(target):
    return sorted(path.name for path in target.parent.iterdir() if path.suffix not in (".lock", ".sha256"))


@pytest.mark.parametrize("fault", ["busy", "cut", "reset", "stall"])
def test_transient_errors_are_retried(tmp_path, server, fault, capsys):
    server.misbehave(fault)
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT
    assert (tmp_path / "w.tar.sha256").read_text().strip() == hashlib.sha256(CONTENT).hexdigest()
    assert leftovers(tmp_path / "w.tar") == ["w.tar"]
    assert "trying again in 0 s" in capsys.readouterr().err
    if fault in ("cut", "stall"):  # half has been received, and only the rest is requested
        ((first, last),) = server.ranges
        assert len(CONTENT) // 4 < first <= len(CONTENT) // 2 and last == len(CONTENT) - 1


@pytest.mark.parametrize("fault", ["denied", "missing"])
def test_permanent_errors_are_not_retried(tmp_path, server, fault):
    server.misbehave(fault)
    with pytest.raises(UserError, match=r"w\.tar: the server answers 40[34]"):
        download(server.url("w.tar"), tmp_path / "w.tar")
    assert server.requests == 1 and leftovers(tmp_path / "w.tar") == []


def test_a_later_run_fetches_the_rest(tmp_path, server):
    target = tmp_path / "w.tar"
    server.misbehave("cut", times=3)
    with pytest.raises(UserError, match=r"w\.tar: .*; run again, which fetches the rest \([\d,]+ bytes are kept\)"):
        download(server.url("w.tar"), target)
    assert not target.exists()
    server.reset_counts()
    download(server.url("w.tar"), target)
    assert target.read_bytes() == CONTENT
    assert server.bytes < len(CONTENT) / 2


def test_a_file_that_has_changed_on_the_server_is_fetched_completely(tmp_path, server):
    target = tmp_path / "w.tar"
    server.misbehave("cut", times=3)
    with pytest.raises(UserError):
        download(server.url("w.tar"), target)
    server.files["w.tar"], server.etags["w.tar"] = CONTENT[::-1], '"two"'
    download(server.url("w.tar"), target)
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_a_download_starts_over(tmp_path, server, etag):
    server.etags = {"w.tar": etag} if etag else {}
    server.misbehave("cut")
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT and server.ranges == []


def test_without_ranges_a_download_starts_over(tmp_path, server):
    server.accept_ranges = False
    server.misbehave("cut")
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT


def test_a_download_that_was_complete_before_a_kill_is_not_repeated(tmp_path, server):
    (tmp_path / ".w.tar.part").write_bytes(CONTENT)
    (tmp_path / ".w.tar.part.json").write_text(json.dumps({"validator": '"one"'}))
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT and server.bytes == 0


def test_a_part_longer_than_the_file_starts_over(tmp_path, server):
    (tmp_path / ".w.tar.part").write_bytes(CONTENT + b"more")
    (tmp_path / ".w.tar.part.json").write_text(json.dumps({"validator": '"one"'}))
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT


def test_an_unexpected_file_is_refused_and_removed(tmp_path, server):
    expected = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    download(server.url("w.tar"), tmp_path / "good.tar", expected)
    server.misbehave("flip")
    with pytest.raises(
        UserError, match=r"w\.tar: the content is not the published file: 1,048,576 bytes with SHA-256 \w{16}\.\.\."
    ):
        download(server.url("w.tar"), tmp_path / "w.tar", expected)
    assert not (tmp_path / "w.tar").exists() and not (tmp_path / ".w.tar.part").exists()


def test_a_download_with_another_md5_than_stated_is_repeated(tmp_path, server, monkeypatch):
    md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    monkeypatch.setattr(fetching, "_stated_md5", lambda response: md5)
    server.misbehave("flip")
    download(server.url("w.tar"), tmp_path / "w.tar")
    assert (tmp_path / "w.tar").read_bytes() == CONTENT and server.requests == 2


def test_the_md5_is_read_from_the_header():
    class Response:
        headers = {"x-goog-hash": "crc32c=n03x6A==, md5=Ojk9c3dhfxgoKVVHYwFbHQ=="}  # noqa: RUF012

    assert fetching._stated_md5(Response()) == "Ojk9c3dhfxgoKVVHYwFbHQ=="


def test_unreachable_servers_and_invalid_urls_are_one_line_errors_without_credentials(tmp_path):
    with pytest.raises(
        UserError, match=r"http://127\.0\.0\.1:9/w\.tar: cannot be fetched \(ConnectionError\); is there a network\?"
    ):
        download("http://anna:secret@127.0.0.1:9/w.tar?signature=secret", tmp_path / "w.tar")
    with pytest.raises(UserError, match="not a usable URL"):
        download("http:///w.tar", tmp_path / "w.tar")
