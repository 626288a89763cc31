"""Which clips of a source are used: the split, numbered classes, classes that are equal but for case, identical files."""

import os
import unicodedata
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources.kinds import open_source
from pipeline.sources.plan import Plan, plan_clips
from pipeline.sources.source import Clip
from pipeline.video.segment import Segment
from tests.sources.clips import data, speed, split, write_files


def planned(folder: Path, scheme: str = "auto", seed: int = 1, **changes) -> Plan:
    source = data(folder=str(folder), split=split(scheme=scheme), **changes)
    with open_source(source, speed()) as opened:
        return plan_clips(opened, source, seed)


def lines(plan: Plan) -> list[str]:
    return [note.message for note in plan.notes]


def sources(plan: Plan, part: str) -> set[str]:
    return {clip.source for clip in plan.parts[part]}


def tree(root: Path, classes=("run", "walk"), count: int = 4) -> Path:
    return write_files(root, *(f"{c}/{n}.mp4" for c in classes for n in range(count)))


def test_the_split_of_the_folders_is_used_and_reported(tmp_path):
    root = write_files(tmp_path / "v", *(f"{s}/{c}/{n}.mp4" for s in ("train", "val", "test") for c in "ab" for n in range(3)))
    plan = planned(root)
    assert {clip.source.split("/")[0] for clip in plan.parts["test"]} == {"test"} and len(plan.parts["test"]) == 6
    assert sources(plan, "validation") == {f"val/{c}/{n}.mp4" for c in "ab" for n in range(3)}
    assert lines(plan)[1] == "data.split.scheme=auto: the split of the folders train, val and test is used"
    assert {clip.clip for clip in plan.parts["test"]} == {f"{c}/test__{c}__{n}.mp4" for c in "ab" for n in range(3)}
    assert planned(root, "given").parts == plan.parts
    other = planned(root, "grouped")
    assert {clip.source.split("/")[0] for clip in other.parts["test"]} != {"test"}
    assert (
        "the split of the folders train, val and test is not used, because data.split.scheme=grouped (given or auto uses it)"
        in lines(other)
    )


def test_validation_is_held_out_of_training_if_there_is_none(tmp_path):
    plan = planned(write_files(tmp_path / "v", *(f"{s}/{c}/{n}.mp4" for s in ("train", "test") for c in "ab" for n in range(5))))
    assert {part: len(clips) for part, clips in plan.parts.items()} == {"train": 8, "validation": 2, "test": 10}


def test_validation_is_tested_if_there_is_no_test_part(tmp_path):
    plan = planned(write_files(tmp_path / "v", *(f"{s}/{c}/{n}.mp4" for s in ("train", "val") for c in "ab" for n in range(5))))
    assert {clip.source.split("/")[0] for clip in plan.parts["test"]} == {"val"}
    assert {part: len(clips) for part, clips in plan.parts.items()} == {"train": 8, "validation": 2, "test": 10}
    assert "the split has no test part: its validation clips are tested" in lines(plan)[2]


def test_without_a_split_groups_are_drawn(tmp_path):
    plan = planned(tree(tmp_path / "v"))
    assert lines(plan)[1] == "data.split.scheme=auto: no split is given, so whole groups are drawn for each part"
    assert plan.parts == planned(tmp_path / "v", "grouped").parts
    with pytest.raises(UserError, match=r"given takes the split from .* and there is neither"):
        planned(tmp_path / "v", "given")


def test_scenes_stay_on_one_side(tmp_path):
    plan = planned(write_files(tmp_path / "v", *(f"{c}/s{s}/{n}.mp4" for c in "ab" for s in range(4) for n in range(2))))
    groups = [{clip.group for clip in clips} for clips in plan.parts.values()]
    assert set.union(*groups) == {"s0", "s1", "s2", "s3"} and sum(map(len, groups)) == 4


def test_numbered_classes_get_their_names(tmp_path):
    root = tree(tmp_path / "v", classes=("0", "1"))
    (root / "names.txt").write_text("h\u00fcpfen, hoch\nlaufen\n")
    plan = planned(root, class_names=str(root / "names.txt"))
    assert plan.classes == ["h\u00fcpfen, hoch", "laufen"]
    assert any("2 numbered classes named by" in line for line in lines(plan))
    assert planned(root, class_names=str(root / "names.txt"), classes=["laufen", "h\u00fcpfen, hoch"]).classes == plan.classes


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Walk", "walk", "in case"),
        ("caf\u00e9", "cafe\u0301", "Unicode normalisation"),
        ("STRASSE", "stra\u00dfe", "Unicode|case"),
    ],
)
def test_classes_that_are_one_spelled_twice(tmp_path, one, other, how):
    root = tree(tree(tmp_path / "v", classes=(one, "jump")), classes=(other,), count=3)
    with pytest.raises(UserError, match=how) as caught:
        planned(root)
    assert f"{one!r} (4 clips)" in str(caught.value) and f"{other!r} (3 clips)" in str(caught.value)
    assert "merge them" in caught.value.advice
    assert planned(root, classes=[one, "jump"]).classes == sorted([one, "jump"])


def test_a_class_may_be_named_in_another_normalisation(tmp_path):
    root = tree(tmp_path / "v", classes=(unicodedata.normalize("NFD", "h\u00fcpfen"), "jump"))
    assert planned(root, classes=["h\u00fcpfen", "jump"]).classes == sorted([unicodedata.normalize("NFD", "h\u00fcpfen"), "jump"])


def twins(root: Path) -> Path:
    tree(root, count=12)
    for name in ("walk/copy of 3.mp4", "walk/3 (2).mp4"):
        (root / name).write_bytes((root / "walk/3.mp4").read_bytes())
    (root / "run/same.mp4").write_bytes((root / "walk/3.mp4").read_bytes())
    return root


def test_identical_files_are_on_one_side_of_a_grouped_split(tmp_path):
    root = twins(tmp_path / "v")
    same = {"walk/3.mp4", "walk/copy of 3.mp4", "walk/3 (2).mp4", "run/same.mp4"}
    for seed in range(20):
        plan = planned(root, seed=seed)
        assert [same & sources(plan, part) for part in plan.parts].count(set()) == 2
        assert {clip.group for clip in plan.clips if clip.source in same} == {"run/same.mp4"}
    assert "identical files share a group, so that none is on two sides of the split: 1 set" in lines(plan)
    (found,) = [note for note in plan.notes if note.status == "warning"]
    assert found.message.startswith("identical files are in several classes: 1 set (run/same.mp4 =")
    assert {clip.group for clip in planned(root, "random").clips if clip.source in same} == same


def test_identical_files_are_merged_only_if_asked(tmp_path):
    root = twins(tmp_path / "v")
    same = {"walk/3.mp4", "walk/copy of 3.mp4", "walk/3 (2).mp4", "run/same.mp4"}
    for duplicates, said in (("warn", "identical files are split as if they differed: 1 set"), ("ignore", "")):
        source = data(folder=str(root), split=split(scheme="grouped", duplicates=duplicates))
        with open_source(source, speed()) as opened:
            plan = plan_clips(opened, source, 1)
        assert {clip.group for clip in plan.clips if clip.source in same} == same and not plan.merges
        about = [line for line in lines(plan) if line.startswith("identical files")]
        assert any(line.startswith(said) for line in about) if said else about == []


def test_the_manifest_names_the_first_of_the_same():
    whole = [Clip(f"x/{n}", "run", "g", clip=f"run/{n}") for n in "dbca"]
    parts = [
        Clip(f"day{day}", "run", "g", clip=f"run/day{day}@{at}", segment=Segment(at, at + 1)) for day in (1, 2) for at in (0, 5)
    ]
    plan = Plan(["run"], {"train": [*whole, *parts], "validation": [], "test": []}, [])
    sets = [["x/c", "x/b", "x/gone"], ["day1", "day2"], ["x/a", "x/left out"]]
    table = plan.manifest({clip.source: "0" * 64 for clip in plan.clips}, sets).set_index("clip")
    named = table["duplicate_of"][table["duplicate_of"] != ""].to_dict()
    assert named == {
        "run/b": "run/b", "run/c": "run/b",
        "run/day1@0": "run/day1@0", "run/day2@0": "run/day1@0", "run/day1@5": "run/day1@5", "run/day2@5": "run/day1@5",
    }  # fmt: skip


def test_files_that_are_left_out_are_reported(tmp_path):
    root = tree(tmp_path / "v")
    write_files(root, "walk/notes.txt", "walk/.DS_Store")
    (root / "walk/broken.mp4").symlink_to("gone.mp4")
    assert lines(planned(root))[-1] == (
        "left out: 1 broken link (walk/broken.mp4); 1 file that is not a video (walk/notes.txt); 1 hidden file (walk/.DS_Store)"
    )


def test_nothing_but_other_files(tmp_path):
    write_files(tmp_path / "v", "walk/a.txt", "walk/b.txt")
    with pytest.raises(UserError) as caught:
        planned(tmp_path / "v")
    assert "no videos in class folders (left out: 2 files that are not videos (.txt 2))" in str(caught.value)


def test_a_listing_that_names_numbers(tmp_path):
    root = tree(tmp_path / "v")
    (root / "list.csv").write_text(
        "path,label\n" + "".join(f"{c}/{n}.mp4,{k}\n" for k, c in enumerate(("run", "walk")) for n in range(4))
    )
    plan = planned(root, listing=str(root / "list.csv"))
    assert plan.classes == ["0", "1"] and any(
        line.startswith("the labels are numbers (0, 1); data.class_names") for line in lines(plan)
    )
    (root / "names.txt").write_text("run\nwalk\n")
    plan = planned(root, listing=str(root / "list.csv"), class_names=str(root / "names.txt"))
    assert plan.classes == ["run", "walk"] and not any("labels are numbers" in line for line in lines(plan))


def test_keras_listings_are_found_and_their_split_used(tmp_path):
    root = tmp_path / "v"
    for name in ("train", "test"):
        files = [f"{c}{n}.avi" for c in "ab" for n in range(4)]
        write_files(root, *(f"{name}/{file}" for file in files))
        (root / f"{name}.csv").write_text("video_name,tag\n" + "".join(f"{file},{file[0]}\n" for file in files))
    plan = planned(root)
    assert {clip.source.split("/")[0] for clip in plan.parts["test"]} == {"test"}
    assert lines(plan)[1] == "data.split.scheme=auto: the split of the listings train.csv, test.csv is used"


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "layout", "classes", "test_groups"),
    [
        ("ds_f1", "layout <split>/<class>/<video>; ", ["run", "walk"], 6),
        ("ds_f2", "layout <class>/<scene>/<video>; ", ["jumping", "running"], 1),
        ("ds_f28", "layout <class>/<video>; ", ["other", "sport"], 4),
    ],
)
def test_folders_that_were_once_misread(name, layout, classes, test_groups):
    if not os.environ.get("MOVINET_REAL_DATA"):
        pytest.skip("MOVINET_REAL_DATA names no folder with cases/")
    plan = planned(Path(os.environ["MOVINET_REAL_DATA"]) / "cases" / name)
    assert lines(plan)[0].startswith(layout) and plan.classes == classes
    assert len({clip.group for clip in plan.parts["test"]}) == test_groups
    if name == "ds_f1":
        assert all(clip.source.startswith("test/") for clip in plan.parts["test"])
