from dataclasses import replace

import pytest

from pipeline.check_results import ok, warning
from pipeline.sources.source import Clip
from pipeline.sources.twins import Twins, find_twins, in_one_group, united
from pipeline.video.segment import Segment


def clip(source: str, size: int, group: str = "") -> Clip:
    return Clip(source, source.partition("/")[0], group or source, size=size)


def test_only_clips_of_equal_size_are_compared():
    asked = []

    def fingerprints(clips):
        asked.extend(clip.source for clip in clips)
        return {clip.source: "same" if "copy" in clip.source else clip.source for clip in clips}

    clips = [clip("a/1", 5), clip("a/copy1", 7), clip("b/copy2", 7), clip("b/3", 7), clip("b/4", 9)]
    assert find_twins(clips, fingerprints) == Twins([["a/copy1", "b/copy2"]])
    assert asked == ["a/copy1", "b/copy2", "b/3"]
    assert find_twins(clips[:1], fingerprints) == Twins([]) and len(asked) == 3


def test_twins_join_groups_transitively_and_across_classes():
    clips = [clip("a/1", 5, "g1"), clip("a/2", 5, "g2"), clip("b/3", 5, "g2"), clip("b/4", 5, "g3"), clip("c/5", 5, "g4")]
    joined = in_one_group(clips, [["a/1", "a/2"], ["b/3", "b/4"]])
    assert [clip.group for clip in joined] == ["g1", "g1", "g1", "g1", "g4"]
    assert in_one_group(clips, []) == clips


def test_all_groups_of_a_recording_are_merged():
    parts = [replace(clip("day", 9, group), segment=Segment(at, at + 1)) for at, group in enumerate(("g5", "g2", "g2"))]
    others = [clip("copy", 9, "g7"), clip("a/1", 5, "g5"), clip("a/2", 5, "g1")]
    joined = in_one_group([*parts, *others], [["copy", "day", "not chosen"], ["not chosen either"]])
    assert [clip.group for clip in joined] == ["g2", "g2", "g2", "g2", "g2", "g1"]


def test_segments_are_no_twins_of_each_other():
    parts = [replace(clip("day", 9), segment=Segment(at, at + 1)) for at in range(3)]
    assert find_twins(parts, lambda clips: pytest.fail("nothing to compare")) == Twins([])


def test_sets_are_united():
    assert united([["d", "c"], ["x", "y"], ["b", "c"], ["a", "b"], ["alone"], []]) == [["a", "b", "c", "d"], ["x", "y"]]
    assert united([]) == []


def test_notes_of_near_duplicates():
    parts = [replace(clip("walk/day", 9), category=name, segment=Segment(0, 1)) for name in ("run", "walk")]
    notes = Twins([["run/1", "walk/day"]], "near-duplicates").notes([*parts, clip("run/1", 5)], grouped=True)
    message = "near-duplicates share a group, so that none is on two sides of the split: 1 pair"
    assert notes == [ok("data", message)], "segments of a recording have classes of their own"


def test_notes_count_twins_and_warn_of_several_classes():
    clips = [clip("a/1", 5), clip("a/2", 5), clip("b/3", 5), clip("b/4", 5)]
    twins = Twins([["a/1", "a/2"], ["b/3", "b/4"]])
    assert twins.notes(clips, grouped=True) == [
        ok("data", "identical files share a group, so that none is on two sides of the split: 2 pairs")
    ]
    assert Twins([["a/1", "b/3"]]).notes(clips, grouped=False) == [
        ok("data", "identical files are split as if they differed: 1 pair (a/1 = b/3)"),
        warning("data", "identical files are in several classes: 1 pair (a/1 = b/3)", "keep each in one class"),
    ]
    assert Twins([["a/1", "a/2", "b/3"]]).notes(clips, grouped=True)[0].message.endswith(": 1 set")
    assert Twins([]).notes(clips, grouped=True) == []
