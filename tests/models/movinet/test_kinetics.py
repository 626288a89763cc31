"""The Kinetics-600 names: fetched once and verified, or from the user's file."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

import pipeline.models.movinet.kinetics as labels
from pipeline.console import UserError
from pipeline.models.class_names import read_labels
from pipeline.models.movinet.kinetics import kinetics_labels, labels_cache

NAMES = [f"class {number}" for number in range(600)]
CONTENT = ("\n".join(NAMES) + "\n").encode()


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(labels, "LABELS_SHA256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def serve(monkeypatch):
    urls = []

    def serve(status=200, content=CONTENT, error=None):
        def get(url, timeout):
            urls.append(url)
            if error is not None:
                raise error
            return SimpleNamespace(status_code=status, reason="Not Found", content=content)

        monkeypatch.setattr(requests, "get", get)
        return urls

    return serve


def test_the_names_are_fetched_once(serve):
    urls = serve()
    assert kinetics_labels() == NAMES
    assert kinetics_labels() == NAMES
    assert urls == [labels.LABELS_URL]
    assert labels_cache().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": requests.ConnectionError("no route")}, r"cannot be fetched from https://raw\S+ \(ConnectionError\)"),
        ({"status": 404}, "the server answers 404 Not Found"),
        ({"content": CONTENT[:-1]}, "the content is not the published list"),
    ],
)
def test_a_failed_download_is_an_error_with_advice_and_leaves_no_file(serve, answer, message):
    serve(**answer)
    with pytest.raises(UserError, match=message) as caught:
        kinetics_labels()
    assert "--labels FILE" in str(caught.value) and "\n" not in str(caught.value)
    assert not labels_cache().exists()


def test_a_changed_copy_is_refused(serve):
    serve()
    kinetics_labels()
    labels_cache().write_text("hacked\n" * 600)
    with pytest.raises(UserError, match="has changed since it was fetched; delete it"):
        kinetics_labels()


def test_a_users_file_is_read_without_the_network(tmp_path, serve):
    serve(error=requests.ConnectionError())
    (tmp_path / "mine.txt").write_text("\n".join(NAMES) + "\n\n")
    assert kinetics_labels(tmp_path / "mine.txt") == NAMES
    (tmp_path / "mine.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match="holds 2 names; Kinetics-600 has 600"):
        kinetics_labels(tmp_path / "mine.txt")


def test_a_byte_order_mark_is_not_part_of_a_name(tmp_path):
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_labels(tmp_path / "l.txt") == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"a\n\nb\n", "line 2 is blank"), (b"\xff\xfe", "not UTF-8 text"), (None, "No such file")],
)
def test_invalid_files_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / "l.txt")


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get("MOVINET_REAL_DATA"), reason="MOVINET_REAL_DATA names no folder of real clips and weights")
def test_the_real_list_is_the_published_one(monkeypatch):
    monkeypatch.undo()
    path = Path(os.environ["MOVINET_REAL_DATA"]) / "kinetics_600_labels.txt"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == labels.LABELS_SHA256
    names = kinetics_labels(path)
    assert (names[0], names[-1], len(set(names))) == ("abseiling", "zumba", 600)
