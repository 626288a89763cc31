import pytest

from pipeline.console import UserError
from pipeline.inspection.clips import list_any
from pipeline.sources.kinds import open_source
from tests.sources.clips import MP4, archive, data, speed, write_files


def listed(**source):
    chosen = data(**source)
    with open_source(chosen, speed()) as opened:
        return list_any(opened, chosen)


def labels(found) -> dict[str, str]:
    return {clip.source: clip.category for clip in found.clips}


def test_a_recognised_layout_is_that_of_the_source(tmp_path):
    write_files(tmp_path, "jump/gym/1.mp4", "jump/park/1.mp4", "run/gym/2.mp4")
    found = listed(folder=str(tmp_path))
    assert found.recognised
    assert [(clip.source, clip.category, clip.group) for clip in found.clips] == [
        ("jump/gym/1.mp4", "jump", "gym"),
        ("jump/park/1.mp4", "jump", "park"),
        ("run/gym/2.mp4", "run", "gym"),
    ]


def test_videos_without_folders_have_no_label(tmp_path):
    found = listed(folder=str(write_files(tmp_path, "1.mp4", "2.mp4")))
    assert not found.recognised
    assert labels(found) == {"1.mp4": "", "2.mp4": ""}
    assert "without class folders" in found.error.message


def test_folders_propose_labels_where_only_some_classes_have_splits(tmp_path):
    write_files(tmp_path, "all/jump/1.mp4", "all/jump/2.mp4", "all/run/train/1.mp4", "all/run/test/2.mp4")
    found = listed(folder=str(tmp_path))
    assert labels(found) == {
        "all/jump/1.mp4": "jump",
        "all/jump/2.mp4": "jump",
        "all/run/test/2.mp4": "run",
        "all/run/train/1.mp4": "run",
    }
    assert not found.splits


def test_splits_are_proposed_if_every_video_has_one(tmp_path):
    write_files(tmp_path, "train/jump/1.mp4", "test/jump/2.mp4", "run/val/3.mp4")
    found = listed(folder=str(tmp_path))
    assert not found.recognised
    assert found.splits
    assert [(clip.category, clip.split) for clip in found.clips] == [("run", "validation"), ("jump", "test"), ("jump", "train")]


def test_files_that_are_no_videos_are_listed_with_their_reason(tmp_path):
    write_files(tmp_path, "1.mp4", "2.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("some words")
    (tmp_path / "notes.txt").write_text("some words")
    rows = [(one.path, one.reason, one.problem) for one in listed(folder=str(tmp_path)).unused]
    assert rows == [
        ("empty.mp4", "empty file", True),
        ("text.mp4", "file with a video's suffix and other content", True),
        ("notes.txt", "file that is not a video", False),
    ]


def test_archives_without_a_layout(tmp_path):
    (tmp_path / "a.zip").write_bytes(archive({"1.mp4": MP4, "2.mp4": MP4 + b"x", "notes.txt": b"x"}))
    found = listed(archive=str(tmp_path / "a.zip"))
    assert labels(found) == {"1.mp4": "", "2.mp4": ""}
    assert [one.path for one in found.unused] == ["notes.txt"]


def test_a_name_that_cannot_be_used_is_left_out(tmp_path):
    write_files(tmp_path, "jump/1.mp4", "run/2.mp4", "run/a\nb.mp4")
    found = listed(folder=str(tmp_path))
    assert labels(found) == {"jump/1.mp4": "jump", "run/2.mp4": "run"}
    assert [(one.path, one.problem) for one in found.unused] == [("run/a?b.mp4", True)]


def test_nothing_to_inspect(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no videos .*notes\.txt"):
        listed(folder=str(tmp_path))


def test_a_bad_listing_is_the_users_to_repair(tmp_path):
    write_files(tmp_path, "1.mp4")
    (tmp_path / "list.csv").write_text("path,label\nabsent.mp4,a\n")
    with pytest.raises(UserError, match="not found"):
        listed(folder=str(tmp_path), listing=str(tmp_path / "list.csv"))


def test_videos_that_a_listing_leaves_out_are_noted(tmp_path):
    write_files(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    (tmp_path / "list.csv").write_text("path,label\n1.mp4,a\n")
    assert (
        "2 videos in the folder are not in the listing (2.mp4, 3.mp4)"
        in listed(folder=str(tmp_path), listing=str(tmp_path / "list.csv")).notes
    )
