from dataclasses import replace

from pipeline.check_results import warning
from pipeline.console import UserError
from pipeline.inspection.clips import UNSAFE, Inventory
from pipeline.inspection.content import Finding, NameHint, Unused
from pipeline.inspection.findings import make_findings
from tests.inspection.contents import duplicates, summary, video

LISTED = Inventory([], "layout <class>/<video>", [])
CLASSES = [summary("jump"), summary("run")]


def findings(listed=LISTED, videos=(), classes=CLASSES, sets=(), hints=(), grouped_by="stem") -> dict[str, Finding]:
    return {one.kind: one for one in make_findings(listed, videos, classes, sets, hints, True, grouped_by)}


def test_nothing_to_look_at():
    assert findings(videos=[video("jump/1.mp4"), video("run/1.mp4")]) == {}


def test_the_most_serious_come_first():
    videos = [video("jump/1.mp4", suspicions=["rotated", "short"]), video("jump/2.mp4", broken="the file is empty")]
    found = make_findings(LISTED, videos, CLASSES, [], [], True, "stem")
    assert [(one.kind, one.status) for one in found] == [("broken", "problem"), ("short", "warning"), ("rotated", "note")]


def test_no_layout_states_why_and_what_the_listing_proposes():
    listed = replace(LISTED, error=UserError("they lie without class folders"))
    found = findings(listed, classes=[summary("")])["no_layout"]
    assert found.message == "no classes are recognised: they lie without class folders"
    assert found.advice == "fill in the column label of the listing"
    found = findings(listed, classes=[*CLASSES, summary("")])["no_layout"]
    assert found.message.endswith("The listing proposes 2 labels by folder (jump, run)")
    assert found.advice == "check the labels in the listing, and fill in the empty ones"


def test_broken_videos_are_named_with_their_reasons():
    found = findings(videos=[video("jump/1.mp4", broken="the file is empty"), video("jump/2.mp4")])["broken"]
    assert found.message == "1 video cannot be decoded and is not listed: jump/1.mp4: the file is empty"
    assert found.paths == ["jump/1.mp4"]


def test_unused_files_are_counted_by_reason():
    rows = [Unused(path=f"{n}.mp4", reason="empty file", problem=True) for n in range(2)]
    rows.append(Unused(path="a\\b.mp4", reason=UNSAFE.one, problem=True))
    rows.append(Unused(path="notes.txt", reason="file that is not a video", problem=False))
    found = make_findings(replace(LISTED, unused=rows), [], CLASSES, [], [], True, "stem")
    assert [(one.message, one.advice) for one in found] == [
        ("not used: 2 x empty file (0.mp4, 1.mp4)", "copy them again, or remove them"),
        ("not used: file whose name cannot be used (a\\b.mp4)", "rename them"),
    ]


def test_duplicates_across_classes_are_a_problem_and_others_a_warning():
    sets = [duplicates("jump/1.mp4", "run/1.mp4"), duplicates("jump/2.mp4", "jump/3.mp4", "jump/4.mp4", kind="trimmed")]
    found = findings(sets=sets)
    assert found["duplicates_across_classes"].status == "problem"
    assert found["duplicates_across_classes"].paths == ["jump/1.mp4", "run/1.mp4"]
    assert found["duplicates"].status == "warning"
    assert found["duplicates"].message == "1 set of near-duplicates within a class, 2 videos too many (trimmed 2)"


def test_classes_with_fewer_than_three_groups():
    classes = [summary("jump", groups=2), summary("run", groups=3)]
    found = findings(classes=classes)
    assert found["few_groups"].message == "1 class has under 3 groups and cannot be split: jump 2"
    assert "few_groups" not in findings(replace(LISTED, splits=True), classes=classes)


def test_a_class_that_a_given_split_does_not_test():
    parts = {"hop": {"test": 2}, "jump": {"train": 9, "test": 1}, "run": {"train": 9, "validation": 1}, "walk": {"train": 10}}
    found = findings(replace(LISTED, splits=True), classes=[summary(label, splits=own) for label, own in parts.items()])
    assert found["split_lacks"].message == "2 classes lack clips in train or in test: hop, walk"


def test_imbalance_is_a_fifth():
    assert "imbalance" not in findings(classes=[summary("jump", 20), summary("run", 100)])
    found = findings(classes=[summary("jump", 19), summary("run", 100)])["imbalance"]
    assert found.message == "1 class has less than a fifth of the clips of run (100): jump 19"


def test_one_class():
    assert findings(classes=[summary("jump")])["one_class"].status == "problem"


def test_a_property_that_gives_the_class_away():
    videos = [video(f"jump/{n}.mp4", width=640, height=480) for n in range(5)] + [video(f"run/{n}.mp4") for n in range(5)]
    found = findings(videos=videos)["revealing_property"]
    assert found.message == (
        "the resolution alone gives the class of 100% of the clips (largest class: 50%): "
        "640x480: 5 of 5 jump, 320x240: 5 of 5 run"
    )


def test_recordings_with_segments_of_several_classes_give_them_all_away_or_none():
    both = {"label": "jump, run", "clips": 10, "labels": {"jump": 5, "run": 5}}
    videos = [video(f"{n}.mp4", width=640, **both) for n in range(5)] + [video(f"{n}.mp4", **both) for n in range(5, 10)]
    assert "revealing_property" not in findings(videos=videos)
    mostly = {"label": "jump, run", "clips": 10, "labels": {"jump": 1, "run": 9}}
    videos = [video(f"jump/{n}.mp4", width=640, clips=10) for n in range(5)] + [video(f"{n}.mp4", **mostly) for n in range(5, 10)]
    assert findings(videos=videos)["revealing_property"].message == (
        "the resolution alone gives the class of 95% of the clips (largest class: 55%): "
        "640x240: 50 of 50 jump, 320x240: 45 of 50 run"
    )


def test_values_that_differ_everywhere_give_nothing_away():
    videos = [
        video(f"{label}/{n}.mp4", width=300 + 10 * n + shift) for n in range(9) for label, shift in (("jump", 0), ("run", 1))
    ]
    assert "revealing_property" not in findings(videos=videos)


def test_without_groups():
    assert findings(grouped_by="none")["no_groups"].advice.endswith("(--group-by)")


def test_suspicions_are_counted_by_kind():
    videos = [video("jump/1.mp4", suspicions=["dark"]), video("jump/2.mp4", suspicions=["dark", "grey"])]
    found = findings(videos=videos)
    assert found["dark"].message == "2 videos are black: jump/1.mp4, jump/2.mp4"
    assert found["grey"].message == "1 video is without colour: jump/2.mp4"


def test_names_like_copies_are_a_note():
    found = findings(hints=[NameHint(original="jump/1.mp4", copy_path="jump/1 (1).mp4")])["named_like_copy"]
    assert (found.status, found.paths) == ("note", ["jump/1 (1).mp4"])


def test_names_that_a_listing_cannot_hold():
    assert findings(videos=[video("jump/ 1.mp4"), video("jump/1.mp4 ")])["unlistable"].paths == ["jump/1.mp4 "]


def test_what_the_source_says_is_passed_on():
    found = findings(replace(LISTED, warnings=[warning("data", "segments overlap", "check")], notes=["the labels are numbers"]))
    assert (found["source_warning"].message, found["source_note"].message) == ("segments overlap", "the labels are numbers")
