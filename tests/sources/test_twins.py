from pipeline.check_results import ok, warning
from pipeline.sources.source import Clip
from pipeline.sources.twins import Twins, find_twins, in_one_group


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
