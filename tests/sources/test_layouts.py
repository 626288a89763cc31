"""Layouts from paths alone: the class, group and split of each file."""

import pytest

from pipeline.console import UserError
from pipeline.sources.layouts import File, image_folders, recognise, split_named, visible
from pipeline.sources.left_out import NOT_VIDEO, LeftOut
from pipeline.sources.source import Found


def found(*paths: str, folders: tuple[str, ...] = ()) -> Found:
    left_out = LeftOut()
    return recognise(visible([File(path, 1) for path in paths], left_out), left_out, "here", folders)


def read(result: Found) -> dict[str, tuple]:
    return {clip.source: (clip.category, clip.group, clip.split) for clip in result.clips}


def test_class_folders():
    result = found("run/1.mp4", "walk/1.mp4", "walk/2.mp4", "loose.mp4", "walk/.hidden.mp4")
    assert read(result) == {
        "run/1.mp4": ("run", "run/1.mp4", None),
        "walk/1.mp4": ("walk", "walk/1.mp4", None),
        "walk/2.mp4": ("walk", "walk/2.mp4", None),
    }
    assert result.layout == "layout <class>/<video>; 2 classes (run, walk), 3 videos"
    assert result.left_out.line() == "left out: 1 hidden file (walk/.hidden.mp4); 1 video outside the class folders (loose.mp4)"
    assert not result.splits


@pytest.mark.parametrize(
    "names",
    [("train", "val", "test"), ("Training", "valid", "TESTING"), ("train", "dev", "eval"), ("train", "validation", "test")],
)
@pytest.mark.parametrize("wrapper", ["", "data/v1/"])
def test_split_folders_above_the_classes(names, wrapper):
    result = found(*(f"{wrapper}{name}/{c}/{n}.mp4" for name in names for c in ("run", "walk") for n in range(2)))
    train, validation, test = names
    assert result.splits == f"the folders {train}, {validation} and {test}"
    assert {clip.source: clip.split for clip in result.clips if clip.source.endswith("walk/0.mp4")} == {
        f"{wrapper}{train}/walk/0.mp4": "train",
        f"{wrapper}{validation}/walk/0.mp4": "validation",
        f"{wrapper}{test}/walk/0.mp4": "test",
    }
    assert {clip.category for clip in result.clips} == {"run", "walk"}
    below = " below data/v1" if wrapper else ""
    assert result.layout == (
        f"layout <split>/<class>/<video>{below}; 2 classes (run, walk), 12 videos; "
        f"4 train ({train}), 4 validation ({validation}), 4 test ({test})"
    )


def test_split_folders_below_the_classes():
    result = found(*(f"{c}/{s}/{n}.mp4" for c in ("run", "walk") for s in ("train", "test") for n in range(2)), "loose.mp4")
    assert result.left_out.line() == "left out: 1 video outside the class folders (loose.mp4)"
    assert result.layout.startswith("layout <class>/<split>/<video>; 2 classes (run, walk), 8 videos; 4 train")
    assert read(result)["run/test/0.mp4"] == ("run", "run/test/0.mp4", "test")


def test_split_folders_of_ucf_names():
    result = found(*(f"{s}/v_{c}_g{n:02d}_c01.avi" for s in ("train", "test") for c in ("Run", "Walk") for n in (1, 2)))
    assert read(result)["test/v_Run_g01_c01.avi"] == ("Run", "Run_g01", "test")
    assert result.layout.startswith("layout <split>/v_<Class>_gNN_cNN (UCF-101's names); 2 classes (Run, Walk), 8 videos")


def test_a_class_may_be_called_train():
    result = found("car/1.mp4", "plane/1.mp4", "train/1.mp4")
    assert {clip.category for clip in result.clips} == {"car", "plane", "train"} and not result.splits


def test_a_single_split_folder_is_one_that_holds_everything():
    result = found("train/run/1.mp4", "train/walk/1.mp4")
    assert not result.splits and "below train; 2 classes (run, walk)" in result.layout


def test_scenes_below_the_classes_are_groups():
    result = found(*(f"{c}/{s}/{n}.mp4" for c in ("jump", "run") for s in ("s1", "s2", "s3") for n in range(2)))
    assert read(result)["jump/s2/1.mp4"] == ("jump", "s2", None)
    assert result.layout == (
        "layout <class>/<scene>/<video>; 2 classes (jump, run), 12 videos; the folder below a class is the group: "
        "3 (s1, s2, s3), 3 of them in several classes"
    )


def test_of_deeper_folders_the_one_below_the_class_is_the_group():
    result = found("jump/anna/day1/1.mp4", "jump/anna/day2/1.mp4", "jump/ben/1.mp4", "run/anna/x/y/1.mp4", "run/2.mp4")
    assert {source: group for source, (_, group, _) in read(result).items()} == {
        "jump/anna/day1/1.mp4": "anna",
        "jump/anna/day2/1.mp4": "anna",
        "jump/ben/1.mp4": "ben",
        "run/anna/x/y/1.mp4": "anna",
        "run/2.mp4": "run/2.mp4",
    }
    assert "those directly in a class folder (1) are groups of their own" in result.layout


def test_a_folder_that_holds_a_whole_class_is_not_a_scene():
    result = found("jump/videos/1.mp4", "jump/videos/2.mp4", "run/clips/1.mp4")
    assert read(result)["jump/videos/2.mp4"] == ("jump", "jump/videos/2.mp4", None)
    assert result.layout.startswith("layout <class>/<video>; ")


def test_the_users_folders_win_over_ucf_names():
    names = [*(f"sport/v_{c}_g0{n}_c01.mp4" for c in ("Basketball", "Diving") for n in (1, 2)), "other/mine.mp4"]
    result = found(*names, "other/v_Typing_g01_c01.mp4")
    assert read(result)["sport/v_Diving_g02_c01.mp4"] == ("sport", "Diving_g02", None)
    assert read(result)["other/mine.mp4"] == ("other", "other/mine.mp4", None)
    assert {clip.number for clip in result.clips} == {1, 2, None}


def test_ucf_101_unpacked_into_class_folders():
    result = found(*(f"UCF-101/{c}/v_{c}_g{n:02d}_c01.avi" for c in ("Archery", "Biking") for n in range(1, 4)))
    assert read(result)["UCF-101/Biking/v_Biking_g03_c01.avi"] == ("Biking", "Biking_g03", None)
    assert result.notes == [] and {clip.number for clip in result.clips} == {1, 2, 3}


@pytest.mark.parametrize("folder", ["", "UCF101/", "a/b/"])
def test_a_flat_pile_of_ucf_names_keeps_the_class_from_the_name(folder):
    result = found(f"{folder}v_HandStandPushups_g08_c01.avi", f"{folder}v_Biking_g01_c01.avi", f"{folder}x.avi")
    assert read(result) == {
        f"{folder}v_Biking_g01_c01.avi": ("Biking", "Biking_g01", None),
        f"{folder}v_HandStandPushups_g08_c01.avi": ("HandStandPushups", "HandStandPushups_g08", None),
    }
    assert "1 video outside the class folders" in result.left_out.line()


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["a.mp4", "b.mp4"],
            r"2 videos lie without class folders \(a.mp4, b.mp4\); put them into <class>/<video>, or list them",
        ),
        (["train/a.mp4", "test/b.mp4"], "2 videos lie without class folders"),
        (
            ["train/w/a.mp4", "test/w/b.mp4", "extra/c.mp4"],
            "folders test and train are named after splits, but extra next to them is not",
        ),
        (
            ["run/train/a.mp4", "run/test/b.mp4", "walk/c.mp4"],
            r"named after splits .*, but not all videos lie in them \(walk/c.mp4\)",
        ),
        (["run/train/a.mp4", "run/test/b.mp4", "walk/s1/c.mp4"], r"not all videos lie in them \(walk/s1/c.mp4\)"),
        (["v_A_g01_c01.avi", "v_B_g01_c01.avi", "walk/a.mp4"], "not clear whether names or folders are the classes"),
        (["run/a.mp4", "walk/b\n.mp4"], "unsafe path"),
    ],
)
def test_ambiguous_and_unknown_layouts_are_errors(paths, message):
    with pytest.raises(UserError, match=message):
        found(*paths)


def test_classes_without_videos():
    left_out = LeftOut()
    left_out.add(NOT_VIDEO, "annotations/a.xml")
    folders = ["train", "test", "train/run", "test/run", "train/bare", "annotations"]
    files = [File("train/run/1.mp4", 1), File("test/run/1.mp4", 1)]
    assert recognise(files, left_out, "here", folders).empty == ["bare"]
    plain = recognise([File("run/1.mp4", 1)], left_out, "here", ["run", "bare", "annotations"])
    assert plain.empty == ["bare"] and "1 folder without videos (annotations)" in plain.left_out.line()


def test_folders_of_images_are_clips():
    left_out = LeftOut()
    images = [File(f"{c}/{clip}/{n:03d}.jpg", 10) for c in ("run", "walk") for clip in ("a", "b") for n in range(3)]
    clips = image_folders([], [*images, File("walk/cover.jpg", 1), File("logo.png", 1), File("walk/one/0.jpg", 1)], left_out)
    assert [(clip.path, clip.size, len(clip.images)) for clip in clips] == [
        ("run/a", 30, 3),
        ("run/b", 30, 3),
        ("walk/a", 30, 3),
        ("walk/b", 30, 3),
    ]
    assert left_out.line() == "left out: 3 images that are not frames of a clip (.jpg 2, .png 1)"
    result = recognise(clips, LeftOut(), "here")
    assert result.layout == "layout <class>/<clip>/<image>; 2 classes (run, walk), 4 folders of images"
    with pytest.raises(UserError, match=r"2 folders of images lie without class folders .*<class>/<clip>/<image>"):
        recognise(
            image_folders([], [File(f"{c}/{n}.jpg", 1) for c in ("run", "walk") for n in range(9)], left_out), left_out, "here"
        )


def test_images_next_to_videos_are_not_clips():
    left_out = LeftOut()
    images = [File(f"walk/thumbs/{n}.jpg", 1) for n in range(3)] + [File("walk/cover.jpg", 1)]
    assert image_folders([File("walk/1.mp4", 1)], images, left_out) == []
    assert left_out.line() == (
        "left out: 1 file that is not a video (walk/cover.jpg); 1 folder of images next to videos (walk/thumbs: 3 images)"
    )


def test_names_of_splits():
    assert [split_named(name) for name in ("Train", "VAL", "valid", "dev", "test ", "testing", "walk", "")] == [
        "train", "validation", "validation", "validation", "test", "test", None, None,
    ]  # fmt: skip


def test_names_that_cannot_be_printed_are_still_one_line():
    left_out = LeftOut()
    left_out.add(NOT_VIDEO, "walk/a\nb\udce9.txt")
    assert left_out.line() == "left out: 1 file that is not a video (walk/a?b?.txt)"
