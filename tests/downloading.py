"""Helpers for tests of the download stage: an empty repository to run in, and the check of the placed clips."""

from pathlib import Path

import pandas
import pytest

from pipeline.settings import Data
from pipeline.sources import archives
from stages.download import Downloaded, run
from tests.sources.clips import digest, speed


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """An empty repository to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(archives, "FIRST_WAIT", 0.01)
    return tmp_path


def download(source: Data, **paths: Path) -> Downloaded:
    """Runs the stage with seed 1. paths: `clips` and `manifest`, if not the defaults."""
    return run(source, 1, speed(), **paths)


def check_clips(manifest: pandas.DataFrame, folder: Path = Path("data/clips")) -> None:
    """Checks that the folder holds exactly the clips of the manifest, byte for byte."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == list(manifest["clip"])
    for row in manifest.itertuples():
        content = (folder / row.clip).read_bytes()
        assert (len(content), digest(content)) == (row.bytes, row.sha256)
