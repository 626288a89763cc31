import errno
import os
import time
import unicodedata
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources import folders
from pipeline.sources.folder_source import FolderSource, links_may_be_shared
from pipeline.sources.folders import folder_clips
from pipeline.sources.paths import existing_folder, nearest
from pipeline.sources.placing import place_file
from tests.sources.clips import MP4, data, speed, write_files


@pytest.fixture
def videos(tmp_path):
    return write_files(tmp_path / "videos", "jump/1.mp4", "jump/2.MOV", "run/v_run_g02_c01.avi", "loose.mp4")


def sources(folder: Path) -> list[str]:
    return [clip.source for clip in folder_clips(str(folder)).clips]


def test_a_source_lists_its_folder_once(videos, monkeypatch):
    (videos / "loose.mp4").unlink()
    opened = []
    monkeypatch.setattr(folders, "not_a_video", lambda path: opened.append(path.name))
    source = FolderSource(data(folder=str(videos)), speed())
    assert source.list_clips() == source.list_clips() and len(opened) == 3


def test_folder_of_classes(videos):
    write_files(videos, "run/notes.txt", "run/.hidden.mp4")
    (videos / "bare").mkdir()
    (videos / "a_link").symlink_to(videos / "jump")  # the same files under another name are listed once
    found = folder_clips(str(videos))
    assert [(clip.source, clip.category, clip.group) for clip in found.clips] == [
        ("jump/1.mp4", "jump", "jump/1.mp4"),
        ("jump/2.MOV", "jump", "jump/2.MOV"),
        ("run/v_run_g02_c01.avi", "run", "run_g02"),
    ]
    assert found.empty == ["bare"]
    assert found.clips[0].size == len(MP4) + len("jump/1.mp4")
    assert found.left_out.line() == (
        "left out: 1 file that is not a video (run/notes.txt); 1 hidden file (run/.hidden.mp4); "
        "1 link to a folder that is already read (a_link); 1 video outside the class folders (loose.mp4)"
    )


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match="not found"):
        folder_clips(str(tmp_path / "none"))
    (tmp_path / "file.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"data\.archive"):
        folder_clips(str(tmp_path / "file.zip"))
    with pytest.raises(UserError, match="File name too long"):
        folder_clips(str(tmp_path / ("x" * 300)))


def test_suffixes_do_not_decide(tmp_path):
    names = ["a.mts", "b.TS", "c.flv", "d.3gp", "e.vob", "f", "g.backup", "h.mp4.part1"]
    root = write_files(tmp_path / "v", *(f"{c}/{name}" for c in ("run", "walk") for name in names))
    write_files(root, "run/Thumbs.db", "run/data.bin", "walk/a.txt", "walk/b.txt", content=b"\x00\x01other")
    write_files(root, "walk/removed.mp4", content=b"<html>This video is not available</html>")
    found = folder_clips(str(root))
    assert [clip.source for clip in found.clips] == [f"{c}/{name}" for c in ("run", "walk") for name in sorted(names)]
    assert found.left_out.line() == (
        "left out: 1 file with a video's suffix and other content (walk/removed.mp4); "
        "4 files that are not videos (.txt 2, .bin 1, .db 1)"
    )


def test_unreadable_files_are_named_and_left_out(videos, monkeypatch):
    (videos / "run/broken.mp4").symlink_to("gone.mp4")
    (videos / "run/loop.mp4").symlink_to("loop.mp4")
    (videos / "run/secret.mp4").write_bytes(MP4)
    (videos / "run/empty.mp4").write_bytes(b"")
    (videos / "jump/closed").mkdir()
    os.mkfifo(videos / "run/pipe.mp4")
    whole_open, whole_scan = Path.open, os.scandir

    def refuse_file(self, *arguments, **options):
        if self.name == "secret.mp4":
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole_open(self, *arguments, **options)

    def refuse_folder(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole_scan(path)

    monkeypatch.setattr(Path, "open", refuse_file)
    monkeypatch.setattr(folders.os, "scandir", refuse_folder)
    found = folder_clips(str(videos))
    assert len(found.clips) == 3
    assert found.left_out.line() == (
        "left out: 1 empty file (run/empty.mp4); 1 file that is not a video (run/pipe.mp4); "
        "1 video outside the class folders (loose.mp4); 2 broken links (run/broken.mp4, run/loop.mp4); "
        "2 files or folders that cannot be read (jump/closed, run/secret.mp4)"
    )


def test_walking_a_loop_of_links_ends(videos):
    (videos / "jump/again").symlink_to(videos)
    (videos / "jump/above").symlink_to(videos.parent)
    assert len(sources(videos)) == 3


def test_a_folder_elsewhere_is_followed(videos, tmp_path):
    write_files(tmp_path / "elsewhere", "1.mp4", "2.mp4")
    (videos / "walk").symlink_to(tmp_path / "elsewhere")
    assert sources(videos)[-2:] == ["walk/1.mp4", "walk/2.mp4"]


def test_ten_thousand_files_take_seconds(tmp_path):
    for name in ("run", "walk"):
        (tmp_path / "v" / name).mkdir(parents=True)
        (tmp_path / "v" / name / "0.mp4").write_bytes(MP4)
        for number in range(1, 5000):
            (tmp_path / "v" / name / f"{number}.mp4").hardlink_to(tmp_path / "v" / name / "0.mp4")
    start = time.process_time()
    assert len(sources(tmp_path / "v")) == 10_000
    assert time.process_time() - start < 15  # 2 to 4 s


def test_advice_for_a_flat_folder_with_a_table(tmp_path):
    root = write_files(tmp_path / "v", "a.mp4", "b.mp4", "labels.csv")
    with pytest.raises(UserError) as caught:
        folder_clips(str(root))
    assert "2 videos lie without class folders (a.mp4, b.mp4)" in caught.value.message
    assert caught.value.advice == f"put them into <class>/<video>, or set data.listing={root}/labels.csv if that lists them"


@pytest.mark.parametrize(
    ("written", "there", "why"),
    [
        (
            unicodedata.normalize("NFD", "b\u00fcro/videos"),
            "b\u00fcro/videos",
            "the same letters in another",
        ),
        ("'b\u00fcro/videos'", "b\u00fcro/videos", ""),
        ("b\u00fcro/videos'", "b\u00fcro/videos", ""),
        ("B\u00fcro/Videos", "b\u00fcro/videos", ""),
        ("b\u00fcro/vidoes", "b\u00fcro/videos", ""),
    ],
)
def test_advice_for_a_misspelt_path(tmp_path, monkeypatch, written, there, why):
    (tmp_path / there).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        existing_folder(written)
    assert caught.value.message == f"data.folder = {written}: not found"
    assert caught.value.advice.startswith("did you mean ") and there in caught.value.advice and why in caught.value.advice
    assert nearest(Path("nothing/like/it")) is None


def test_place_links_or_copies_and_leaves_the_source(videos, tmp_path, monkeypatch):
    source = videos / "jump/1.mp4"
    before = source.stat()
    place_file(source, tmp_path / "out/a.mp4", link=True)
    assert (tmp_path / "out/a.mp4").samefile(source)
    place_file(source, tmp_path / "out/b.mp4", link=False)
    assert (tmp_path / "out/b.mp4").read_bytes() == MP4 + b"jump/1.mp4"
    assert not (tmp_path / "out/b.mp4").samefile(source)

    def refuse(self, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    place_file(source, tmp_path / "out/c.mp4", link=True)
    assert (tmp_path / "out/c.mp4").read_bytes() == MP4 + b"jump/1.mp4"
    after = source.stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_size) == (after.st_mode, after.st_mtime_ns, after.st_size)


def test_a_link_is_placed_as_its_target(videos, tmp_path):
    (videos / "jump/link.mp4").symlink_to(videos / "loose.mp4")
    place_file(videos / "jump/link.mp4", tmp_path / "out/a.mp4", link=True)
    assert not (tmp_path / "out/a.mp4").is_symlink()
    assert (tmp_path / "out/a.mp4").read_bytes() == MP4 + b"loose.mp4"


@pytest.mark.parametrize(("kind", "shared"), [("reflink,copy", True), ("hardlink,symlink", False), (None, True)])
def test_no_links_to_the_users_files_where_dvc_links_too(tmp_path, monkeypatch, kind, shared):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"[cache]\n    type = {kind}\n" if kind else "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setitem(os.environ, "DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    assert links_may_be_shared() is shared
