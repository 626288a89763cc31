import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.inspection.next_steps import next_steps, override
from tests.sources.clips import data


@pytest.mark.parametrize(
    "path",
    [
        "/a/b-c_d.1",
        "/a/b c",
        "/a/büro, alt",
        "/a/日本",
        "/a/it's",
        '/a/"b"',
        "/a/b$c",
        "/a/b!c",
        "/a/b`c",
        "/a/x=1 (2) [3] {4}",
        "/a/~b#&;",
    ],
)
def test_the_shell_and_hydra_read_the_path(path):
    flag, text = shlex.split(override("data.folder", path))
    assert flag == "-S"
    parsed = OverridesParser.create().parse_override(text)
    assert (parsed.key_or_group, parsed.value()) == ("data.folder", path)


def test_plain_paths_are_not_quoted():
    assert override("data.folder", "/a/b-c_d.1") == "-S data.folder=/a/b-c_d.1"


def test_quotes_are_those_of_the_documentation():
    assert override("data.folder", "/videos/büro, alt") == "-S \"data.folder='/videos/büro, alt'\""


def test_a_folder(tmp_path):
    steps = next_steps(data(folder=str(tmp_path)), Path("inspection"), True, 0)
    assert steps[0].startswith(f"cp inspection/listing.csv {tmp_path}/listing.csv")
    assert steps[-1] == f"dvc exp run -S data=folder -S data.folder={tmp_path} -S data.listing={tmp_path}/listing.csv"


def test_no_listing_is_overwritten(tmp_path):
    for name in ("listing.csv", "listing2.csv"):
        (tmp_path / name).touch()
    steps = next_steps(data(folder=str(tmp_path)), Path("inspection"), True, 0)
    assert steps[0].startswith(f"cp inspection/listing.csv {tmp_path}/listing3.csv ")
    assert steps[-1].endswith(f"-S data.listing={tmp_path}/listing3.csv")


def test_a_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"-S data.folder={tmp_path}/videos " in next_steps(data(folder="videos"), Path("out"), True, 0)[-1]


def test_labels_to_fill_in_come_first(tmp_path):
    steps = next_steps(data(folder=str(tmp_path)), Path("out"), False, 7)
    assert steps[0] == "fill in the column label of out/listing.csv (7 rows are empty), then:"
    assert "(1 row is empty)" in next_steps(data(folder=str(tmp_path)), Path("out"), False, 1)[0]


def test_an_archive_is_trained_from_directly_or_unpacked(tmp_path):
    steps = next_steps(data(archive=str(tmp_path / "videos.zip")), Path("out"), True, 0)
    assert steps[0].startswith(f"dvc exp run -S data=archive -S data.archive={tmp_path}/videos.zip")
    assert f"python -m zipfile -e {tmp_path}/videos.zip {tmp_path}/videos" in steps
    assert steps[-1].endswith(f"-S data.listing={tmp_path}/videos/listing.csv")
