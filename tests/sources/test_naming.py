import pytest

from pipeline.console import UserError
from pipeline.sources.naming import folded, identified, is_hidden, is_video, safe_parts, ucf_group
from pipeline.sources.source import Clip


def test_ucf_names_give_group_and_number():
    assert ucf_group("UCF101/v_HandStandPushups_g08_c01.avi") == ("HandStandPushups_g08", 8)
    assert ucf_group("v_HandStandPushups_g8_c1") == ("HandStandPushups_g08", 8)
    assert ucf_group("x/jump high/1.MP4") == ("x/jump high/1.MP4", None)


def test_names_that_are_equal_to_some_file_systems():
    assert (
        folded("Walk") == folded("walk") and folded("caf\u00e9") == folded("cafe\u0301") and folded("STRASSE") == folded("straße")
    )
    assert folded("walk") != folded("walks")


def test_names_that_are_not_utf8_are_refused():
    with pytest.raises(UserError, match="not UTF-8"):
        safe_parts("walk/caf\udce9.mp4", "here")


@pytest.mark.parametrize("path", ["../a/v.avi", "/etc/v.avi", "a/../../v.avi", "C:/a/v.avi", "a\\v.avi", "a/v\n.avi", "", "a/.."])
def test_unsafe_paths_are_refused(path):
    with pytest.raises(UserError, match="unsafe path"):
        safe_parts(path, "here")


def test_what_is_a_video():
    assert is_video("a/b.AVI") and is_video("b.wmv") and is_video("b.gif") and is_video("a.mts")
    assert not is_video("b.txt") and not is_video("avi")
    assert is_hidden(["__MACOSX", "a.avi"]) and is_hidden(["a", "._a.avi"]) and not is_hidden(["a", "b.avi"])


def test_names_that_collide_take_their_whole_path():
    clips = [Clip(source, "jump", source) for source in ("b/jump/1.mp4", "a/jump/1.MP4", "a/jump/2.mp4")]
    assert [clip.clip for clip in identified(clips)] == ["jump/2.mp4", "jump/a__jump__1.MP4", "jump/b__jump__1.mp4"]
    assert identified(clips) == identified(clips[::-1])
    long = [clip.clip for clip in identified(Clip(f"{n}{'x' * 150}/{'y' * 150}/1.mp4", "jump", n) for n in "ab")]
    assert all(len(name) == len("jump/____1.mp4") - 2 + 16 for name in long) and len(set(long)) == 2
    with pytest.raises(UserError, match="would both be"):
        identified([Clip("a/jump/1.mp4", "jump", "x"), Clip("b/1.mp4", "jump", "y"), Clip("a__jump__1.mp4", "jump", "z")])
