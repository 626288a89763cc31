import errno
import os
from pathlib import Path

import pytest

from stages.console import UserError
from stages.sources.folders import folder_clips, links_may_be_shared, listed_clips, place
from tests.sources.clips import digest


@pytest.fixture
def videos(tmp_path):
    root = tmp_path / "videos"
    for name in ("jump/1.mp4", "jump/2.MOV", "run/v_run_g02_c01.avi", "run/notes.txt", "run/.hidden.mp4", "loose.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def listing(videos: Path, text: str) -> str:
    path = videos.parent / "list.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_folder_of_classes(videos):
    (videos / "bare").mkdir()
    (videos / "linked").symlink_to(videos / "jump")  # the same files under another name: once is enough
    found = folder_clips(str(videos))
    assert [(clip.source, clip.category, clip.group) for clip in found.clips] == [
        ("jump/1.mp4", "jump", "jump/1.mp4"),
        ("jump/2.MOV", "jump", "jump/2.MOV"),
        ("run/v_run_g02_c01.avi", "run", "run_g02"),
    ]
    assert found.ignored == 3
    assert found.empty == ["bare"]
    assert found.clips[0].size == len("jump/1.mp4")


def test_folder_that_is_none(tmp_path):
    with pytest.raises(UserError, match="not found"):
        folder_clips(str(tmp_path / "none"))
    (tmp_path / "file.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"data\.archive"):
        folder_clips(str(tmp_path / "file.zip"))


def test_listing(videos):
    rows = ["jump/1.mp4, up ,007,train,3", "loose.mp4,down,,test,3", "run/v_run_g02_c01.avi,down,,validation,1"]
    text = "\n".join(["\ufeffpath,label,group,split,seconds", *rows, ""])
    found = listed_clips(str(videos), listing(videos, text))
    assert found.splits
    assert [(c.source, c.category, c.group, c.split) for c in found.clips] == [
        ("jump/1.mp4", "up", "007", "train"),
        ("loose.mp4", "down", "loose.mp4", "test"),
        ("run/v_run_g02_c01.avi", "down", "run_g02", "validation"),
    ]
    assert not listed_clips(str(videos), listing(videos, "path,label\njump/1.mp4,NA\n")).splits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,group\njump/1.mp4,a\n", "no column label"),
        ("", "not a CSV"),
        ("path,label\n", "lists no files"),
        ("path,label,groups\njump/1.mp4,a,b\n", "'groups' looks like 'group'"),
        ("path,label\njump/9.mp4,a\n", r"row 2: .*jump/9.mp4 not found"),
        ("path,label\njump/1.mp4,a\njump/./1.mp4,b\n", "row 3: jump/1.mp4 is listed already in row 2"),
        ("path,label,split\njump/1.mp4,a,dev\n", "unknown split 'dev'"),
        ("path,label,split\njump/1.mp4,a,train\njump/2.MOV,a,\n", "row 3: unknown split ''"),
        ("path,label\n../x.mp4,a\n", "unsafe path"),
        ("path,label\n/x.mp4,a\n", "unsafe path"),
        ("path,label\njump/1.mp4,a/b\n", "cannot be a class"),
        ("path,label\njump/1.mp4,..\n", "unsafe|cannot be"),
        ("path,label\njump/1.mp4,\n", "cannot be a class"),
        ("path,label\nrun/notes.txt,a\n", "not a video"),
    ],
)
def test_listing_errors_name_the_row(videos, text, message):
    with pytest.raises(UserError, match=message):
        listed_clips(str(videos), listing(videos, text))


def test_place_links_or_copies_and_leaves_the_source(videos, tmp_path, monkeypatch):
    source = videos / "jump/1.mp4"
    before = source.stat()
    assert place(source, tmp_path / "out/a.mp4", link=True) is None
    assert (tmp_path / "out/a.mp4").samefile(source)
    assert place(source, tmp_path / "out/b.mp4", link=False) == digest(b"jump/1.mp4")
    assert not (tmp_path / "out/b.mp4").samefile(source)

    def refuse(self, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert place(source, tmp_path / "out/c.mp4", link=True) == digest(b"jump/1.mp4")
    after = source.stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_size) == (after.st_mode, after.st_mtime_ns, after.st_size)


def test_a_link_is_placed_as_the_file_it_means(videos, tmp_path):
    (videos / "jump/link.mp4").symlink_to(videos / "loose.mp4")
    place(videos / "jump/link.mp4", tmp_path / "out/a.mp4", link=True)
    assert not (tmp_path / "out/a.mp4").is_symlink()
    assert (tmp_path / "out/a.mp4").read_bytes() == b"loose.mp4"


@pytest.mark.parametrize(("kind", "shared"), [("reflink,copy", True), ("hardlink,symlink", False), (None, True)])
def test_no_links_to_the_users_files_where_dvc_links_too(tmp_path, monkeypatch, kind, shared):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"[cache]\n    type = {kind}\n" if kind else "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setitem(os.environ, "DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    assert links_may_be_shared() is shared


def test_walking_a_loop_of_links_ends(videos):
    (videos / "jump/again").symlink_to(videos)
    assert len(folder_clips(str(videos)).clips) == 3
