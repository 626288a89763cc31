"""Finding weights: URLs, the cache, and the published sources in order."""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from pipeline.console import UserError
from pipeline.models.movinet.network.variants import VARIANTS
from pipeline.models.movinet.network.weights import finding
from pipeline.models.movinet.network.weights.finding import find_weights
from tests.models.movinet.small import saved, small_model, tarball
from tests.range_server import RangeServer

A0 = VARIANTS["a0"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_a_url_is_fetched_once_and_a_changed_copy_is_refused(tmp_path):
    archive = tarball(tmp_path / "w.tar.gz", saved(tmp_path / "w", small_model()))
    with RangeServer({"w.tar.gz": archive.read_bytes()}) as server:
        url = server.url("w.tar.gz")
        first = find_weights(url, A0)
        assert find_weights(url, A0) == first
        assert server.requests == 1
        with pytest.raises(UserError, match="404"):
            find_weights(server.url("other.tar.gz"), A0)
    (cached,) = (tmp_path / ".cache" / "weights").glob("*/w.tar.gz")
    cached.write_bytes(b"changed")
    with pytest.raises(UserError, match="has changed since it was fetched; delete it"):
        find_weights(url, A0)


def test_a_download_that_is_not_a_tarball_is_removed(tmp_path):
    with RangeServer({"w.tar.gz": b"<html>log in</html>"}) as server:
        for _ in range(2):
            with pytest.raises(UserError, match=r"w\.tar\.gz is a web page .*; fetch it again"):
                find_weights(server.url("w.tar.gz"), A0)
        assert server.requests == 2


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """A fake kagglehub with the cache layout of version 1.0.2: `models/<handle>/<version>/`, and `<version>.complete`."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")  # so that a value that the code sets is removed at the end
    monkeypatch.delenv("KAGGLEHUB_CACHE")
    monkeypatch.setattr(finding, "WAITS", (0.0, 0.0))
    fake = SimpleNamespace(requests=[], failures=[])

    def model_download(handle: str) -> str:
        fake.requests.append(handle)
        if fake.failures:
            raise fake.failures.pop(0)
        folder = Path(os.environ["KAGGLEHUB_CACHE"]) / "models" / handle
        if folder.with_name(f"{folder.name}.complete").exists():
            return str(folder)
        saved_prefix = saved(tmp_path / "source", small_model()) / "ckpt-1"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").touch()
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(f"{saved_prefix}{suffix}", folder / "variables" / f"variables{suffix}")
        folder.with_name(f"{folder.name}.complete").touch()
        return str(folder)

    fake.model_download = model_download
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    return fake


def test_published_sources_are_tried_in_order(tmp_path, monkeypatch, capsys, kaggle):
    archive = tarball(tmp_path / "w.tar.gz", saved(tmp_path / "w", small_model()))
    a1 = VARIANTS["a1"]
    with RangeServer({A0.checkpoint: archive.read_bytes()}) as server:
        monkeypatch.setattr(finding, "PUBLISHED_ROOT", server.url("").rstrip("/"))
        find_weights("pretrained", A0)
        assert kaggle.requests == []
        kaggle.failures = [requests.ConnectionError("reset")]
        prefix = find_weights("pretrained", a1)
        assert prefix == tmp_path / ".cache/weights/kaggle/models" / a1.kaggle / "variables" / "variables"
        assert kaggle.requests == [a1.kaggle] * 2
        assert re.search(r"weights of a1: published checkpoint: \S+: the server answers 404", capsys.readouterr().err)
        before = server.requests
        find_weights("pretrained", a1)  # Kaggle's copy is in the cache: the server is not asked again
        assert server.requests == before
    assert capsys.readouterr().err == ""


def test_versions_on_kaggle_are_pinned():
    versions = {(variant.stream, variant.kaggle.rpartition("/")[2]) for variant in VARIANTS.values() if variant.kaggle}
    assert versions == {(False, "3"), (True, "2")}
    assert A0.kaggle == "google/movinet/tensorFlow2/a0-base-kinetics-600-classification/3"


def test_if_a_published_file_has_changed_the_next_source_is_used(tmp_path, monkeypatch, capsys, kaggle):
    archive = tarball(tmp_path / "w.tar.gz", saved(tmp_path / "w", small_model())).read_bytes()
    known = {A0.checkpoint: (len(archive), hashlib.sha256(archive).hexdigest())}
    monkeypatch.setattr("pipeline.models.movinet.network.weights.published.PUBLISHED_FILES", known)
    with RangeServer({A0.checkpoint: archive[:-1] + b"x"}) as server:
        monkeypatch.setattr(finding, "PUBLISHED_ROOT", server.url("").rstrip("/"))
        assert "kaggle" in str(find_weights("pretrained", A0))
        assert "the content is not the published file" in capsys.readouterr().err
        assert not list((tmp_path / ".cache/weights").glob("*/*.tar.gz"))
    mine = tmp_path / A0.checkpoint
    mine.write_bytes(archive)
    find_weights(str(mine), A0)
    assert "not the published" not in capsys.readouterr().err
    tarball(mine, saved(tmp_path / "other", small_model(5)))
    find_weights(str(mine), A0)  # a user's own file is used anyway
    assert f"{mine}: not the published {A0.checkpoint}: its size or SHA-256 is another" in capsys.readouterr().err


def test_if_all_sources_fail_each_reason_is_reported(monkeypatch, kaggle):
    kaggle.failures = [OSError("no route to Kaggle")]
    monkeypatch.setattr("pipeline.models.movinet.network.weights.fetching.WAITS", ())
    monkeypatch.setattr(finding, "PUBLISHED_ROOT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be fetched.*no route to Kaggle.*; fetch movinet_a0_base.tar.gz by other means"):
        find_weights("pretrained", A0)
    with pytest.raises(UserError, match="no weights of a0_stream_relu6 are published"):
        find_weights("pretrained", VARIANTS["a0_stream_relu6"])
