import pytest

from stages.console import UserError
from stages.sources.naming import Clip, identified, is_hidden, is_video, named_clip, safe_parts


@pytest.mark.parametrize(
    "path", ["UCF101/v_HandStandPushups_g08_c01.avi", "v_HandStandPushups_g08_c01.avi", "a/b/v_HandStandPushups_g8_c1.mp4"]
)
def test_ucf_names_carry_class_and_group_anywhere(path):
    clip = named_clip(path, 7, "here")
    assert (clip.category, clip.group, clip.number, clip.size) == ("HandStandPushups", "HandStandPushups_g08", 8, 7)


def test_other_names_take_their_folder_and_are_groups_of_their_own():
    one, two = named_clip("x/jump high/1.MP4", 1, "here"), named_clip("y/jump high/1.MP4", 1, "here")
    assert one.category == two.category == "jump high"
    assert one.group != two.group
    assert one.number is None
    assert named_clip("1.mp4", 1, "here") is None


@pytest.mark.parametrize("path", ["../a/v.avi", "/etc/v.avi", "a/../../v.avi", "C:/a/v.avi", "a\\v.avi", "a/v\n.avi", "", "a/.."])
def test_unsafe_paths_are_refused(path):
    with pytest.raises(UserError, match="unsafe path"):
        safe_parts(path, "here")


def test_what_is_a_video():
    assert is_video("a/b.AVI") and is_video("b.wmv") and is_video("b.gif")
    assert not is_video("b.txt") and not is_video("avi")
    assert is_hidden(["__MACOSX", "a.avi"]) and is_hidden(["a", "._a.avi"]) and not is_hidden(["a", "b.avi"])


def test_names_that_collide_take_their_whole_path():
    clips = [Clip(source, "jump", source) for source in ("b/jump/1.mp4", "a/jump/1.MP4", "a/jump/2.mp4")]
    assert [clip.clip for clip in identified(clips)] == ["jump/2.mp4", "jump/a__jump__1.MP4", "jump/b__jump__1.mp4"]
    assert identified(clips) == identified(clips[::-1])
    with pytest.raises(UserError, match="would both be"):
        identified([Clip("a/jump/1.mp4", "jump", "x"), Clip("b/1.mp4", "jump", "y"), Clip("a__jump__1.mp4", "jump", "z")])
