"""What tests of the download stage share: an empty repository to run in, and the check of what was placed."""

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
    """The stage, with seed 1. paths: `clips` and `manifest`, if other than the default."""
    return run(source, 1, speed(), **paths)


def check_clips(manifest: pandas.DataFrame, folder: Path = Path("data/clips")) -> None:
    """The folder holds exactly what the manifest says, byte for byte."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == list(manifest["clip"])
    for row in manifest.itertuples():
        content = (folder / row.clip).read_bytes()
        assert (len(content), digest(content)) == (row.bytes, row.sha256)
