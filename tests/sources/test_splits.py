import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources.naming import identified, ucf_name
from pipeline.sources.source import Clip
from pipeline.sources.splits import OFFICIAL_TEST_GROUPS, fold_groups, hold_out, limited, split_clips
from tests.sources.clips import CLASSES, split, ucf_clip, ucf_names


def ucf_clips(**options) -> list[Clip]:
    return identified(ucf_clip(name) for name in ucf_names(**options))


def plain_clips(counts: dict[str, int], groups: dict[str, str] | None = None) -> list[Clip]:
    sources = [(category, f"{category}/{n:03d}.mp4") for category, count in counts.items() for n in range(count)]
    return identified(Clip(source, category, (groups or {}).get(source, source)) for category, source in sources)


def names(parts: dict[str, list[Clip]]) -> dict[str, list[str]]:
    return {part: [clip.clip for clip in clips] for part, clips in parts.items()}


def groups(clips: list[Clip]) -> set[str]:
    return {clip.group for clip in clips}


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_official_folds_by_group_number(fold):
    parts = split_clips(ucf_clips(), split(fold=fold), seed=1)
    assert {clip.number for clip in parts["test"]} == set(OFFICIAL_TEST_GROUPS[fold])
    assert len(parts["test"]) == 3 * 7 * 2
    assert sum(map(len, parts.values())) == 3 * 25 * 2
    # 18 training groups per class, of which a fifth is held out.
    assert Counter(clip.category for clip in parts["validation"]) == dict.fromkeys(CLASSES, 2 * 4)
    assert not groups(parts["train"]) & groups(parts["validation"])


@pytest.mark.real
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_official_folds_agree_with_the_published_lists(fold):
    folder = os.environ.get("MOVINET_REAL_DATA")
    if not folder:
        pytest.skip("MOVINET_REAL_DATA names no folder with ucfTrainTestlist/")
    lists = Path(folder) / "ucfTrainTestlist"
    # bytes, to keep CRLF: a line is `Class/v_Class_gNN_cNN.avi`, in the training lists with a label after a space
    lines = {side: (lists / f"{side}list{fold:02d}.txt").read_bytes().split(b"\r\n") for side in ("train", "test")}
    published = {side: {line.decode().split(" ")[0] for line in content if line.strip()} for side, content in lines.items()}
    assert len(published["train"]) + len(published["test"]) == 13320
    # The lists' folder is spelled HandstandPushups, the file name HandStandPushups: the file name is used.
    clips = identified(ucf_clip(path) for side in published.values() for path in side)
    assert len({clip.category for clip in clips}) == 101 and "HandStandPushups" in {clip.category for clip in clips}
    parts = split_clips(clips, split(fold=fold), seed=1)

    def files(paths):
        return {path.rsplit("/", 1)[-1] for path in paths}

    assert files(clip.clip for clip in parts["test"]) == files(published["test"])
    assert files(clip.clip for part in ("train", "validation") for clip in parts[part]) == files(published["train"])
    assert all(ucf_name(file) for file in files(published["test"]))


def test_grouped_keeps_groups_whole_in_all_classes():
    clips = ucf_clips(groups=10, clips=3)
    parts = split_clips(clips, split(scheme="grouped"), seed=3)
    sides = [groups(part) for part in parts.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert Counter(clip.category for clip in parts["test"]) == dict.fromkeys(CLASSES, 9)
    assert Counter(clip.category for clip in parts["validation"]) == dict.fromkeys(CLASSES, 3)


def test_grouped_with_groups_that_span_classes():
    people = {f"{category}/{n:03d}.mp4": f"person{n // 4}" for category in ("a", "b", "c") for n in range(40)}
    parts = split_clips(plain_clips({"a": 40, "b": 40, "c": 40}, people), split(scheme="grouped"), seed=5)
    assert len(groups(parts["test"])) == 3
    assert not groups(parts["test"]) & (groups(parts["train"]) | groups(parts["validation"]))


def test_groups_shared_too_closely():
    shared = {"a/000.mp4": "x", "a/001.mp4": "y", "b/000.mp4": "y", "b/001.mp4": "z", "c/000.mp4": "x", "c/001.mp4": "z"}
    with pytest.raises(UserError, match="share groups so closely"):
        hold_out(plain_clips({"a": 2, "b": 2, "c": 2}, shared), 0.5, 1, "test")


@pytest.mark.parametrize("scheme", ["official", "grouped", "folds", "random"])
def test_order_does_not_matter_seed_does_and_classes_are_independent(scheme):
    clips = ucf_clips()
    shuffled = clips.copy()
    random.Random(0).shuffle(shuffled)
    whole = names(split_clips(clips, split(scheme=scheme), seed=1))
    assert whole == names(split_clips(shuffled, split(scheme=scheme), seed=1))
    assert whole != names(split_clips(clips, split(scheme=scheme), seed=2))
    two = names(split_clips([clip for clip in clips if clip.category != "Archery"], split(scheme=scheme), seed=1))
    assert two == {part: [name for name in members if not name.startswith("Archery/")] for part, members in whole.items()}


def all_folds(clips: list[Clip], folds: int, seed: int = 1) -> list[dict[str, list[Clip]]]:
    return [split_clips(clips, split(scheme="folds", folds=folds, fold=fold), seed) for fold in range(1, folds + 1)]


def test_each_clip_is_tested_in_one_of_the_folds():
    clips = ucf_clips(groups=11, clips=3)
    runs = all_folds(clips, 5)
    assert Counter(clip.clip for parts in runs for clip in parts["test"]) == dict.fromkeys((clip.clip for clip in clips), 1)
    for parts in runs:
        assert sum(map(len, parts.values())) == len(clips)
        sides = [groups(part) for part in parts.values()]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert set(Counter(clip.category for clip in parts["test"]).values()) <= {6, 9}, "two or three of eleven groups"
        # a fifth of the eight or nine groups that are not tested
        assert Counter(clip.category for clip in parts["validation"]) == dict.fromkeys(CLASSES, 6)
    assert [names(parts) for parts in runs] != [names(parts) for parts in all_folds(clips, 5, seed=2)]


def test_folds_are_balanced_though_groups_are_not():
    sizes = {f"a/{group:02d}_{n:02d}.mp4": f"g{group:02d}" for group in range(12) for n in range(1 + group)}
    clips = identified(Clip(source, "a", group) for source, group in sizes.items())
    tested = [sum(clip.group in held for clip in clips) for held in fold_groups(clips, 3, seed=1)]
    assert sum(tested) == 78 and max(tested) - min(tested) <= 1


def test_folds_of_classes_that_share_groups():
    people = {f"{category}/{n:03d}.mp4": f"person{n // 4}" for category in ("a", "b") for n in range(40)}
    runs = all_folds(plain_clips({"a": 40, "b": 40}, people), 5)
    assert [len(groups(parts["test"])) for parts in runs] == [2] * 5
    assert len(set.union(*(groups(parts["test"]) for parts in runs))) == 10
    assert all(not groups(parts["test"]) & (groups(parts["train"]) | groups(parts["validation"])) for parts in runs)


def test_folds_that_shared_groups_do_not_allow():
    shared = {"a/000.mp4": "x", "a/001.mp4": "y", "b/000.mp4": "y", "b/001.mp4": "z", "c/000.mp4": "x", "c/001.mp4": "z"}
    with pytest.raises(UserError, match="no choice of 2 folds"):
        fold_groups(plain_clips({"a": 2, "b": 2, "c": 2}, shared), 2, seed=1)


def test_random_is_stratified_and_leaks():
    parts = split_clips(ucf_clips(groups=10, clips=4), split(scheme="random"), seed=1)
    assert Counter(clip.category for clip in parts["test"]) == dict.fromkeys(CLASSES, 12)
    assert Counter(clip.category for clip in parts["validation"]) == dict.fromkeys(CLASSES, 6)
    assert groups(parts["test"]) & groups(parts["train"])


def test_limits_go_round_the_groups_before_validation_is_carved():
    parts = split_clips(ucf_clips(clips=4), split(train_per_class=30, test_per_class=9), seed=1)
    assert Counter(clip.category for clip in parts["test"]) == dict.fromkeys(CLASSES, 9)
    assert Counter(clip.category for part in ("train", "validation") for clip in parts[part]) == dict.fromkeys(CLASSES, 30)
    archery = [clip for clip in parts["test"] if clip.category == "Archery"]
    assert Counter(clip.number for clip in archery) == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}
    assert len(groups(parts["validation"]) & {f"Archery_g{n:02d}" for n in range(8, 26)}) == 4


def test_limited_is_a_prefix_of_a_larger_limit():
    clips = ucf_clips(classes=["A"], groups=5, clips=3)
    order = [{clip.clip for clip in limited(clips, n)} for n in range(1, 16)]
    assert [len(part) for part in order] == list(range(1, 16))
    assert all(small < large for small, large in pairwise(order))


def given(counts: dict[tuple[str, str], int]) -> list[Clip]:
    sources = [
        (category, part, f"{category}/{part}{n:02d}.mp4") for (category, part), count in counts.items() for n in range(count)
    ]
    return identified(Clip(source, category, source, split=part) for category, part, source in sources)


def test_given_takes_the_listing_and_carves_validation_only_where_there_is_none():
    both = given({("a", "train"): 10, ("a", "test"): 3, ("b", "train"): 10, ("b", "test"): 2})
    parts = split_clips(both, split(scheme="given"), seed=1)
    assert {clip.split for clip in parts["test"]} == {"test"}
    assert {part: len(clips) for part, clips in parts.items()} == {"train": 16, "validation": 4, "test": 5}
    named = given({(c, p): n for c in "ab" for p, n in (("train", 10), ("validation", 5), ("test", 2))})
    parts = split_clips(named, split(scheme="given"), seed=1)
    assert all({clip.split for clip in clips} == {part} for part, clips in parts.items())
    parts = split_clips(named, split(scheme="given", train_per_class=6), seed=1)
    assert {part: len(clips) for part, clips in parts.items()} == {"train": 8, "validation": 4, "test": 4}


@pytest.mark.parametrize(
    ("clips", "scheme", "message"),
    [
        (plain_clips({"a": 5, "b": 5}), {"scheme": "official"}, "needs UCF-101's names"),
        (ucf_clips(groups=7), {"scheme": "official"}, "'ApplyEyeMakeup' .*has no train clips"),
        (ucf_clips(groups=7), {"scheme": "official", "fold": 2}, "'ApplyEyeMakeup' .*has no test clips"),
        (ucf_clips(groups=8), {"scheme": "official"}, "'ApplyEyeMakeup' has only one group to divide .*validation"),
        (ucf_clips(), {"scheme": "official", "train_per_class": 1}, "only one group to divide .*validation"),
        (plain_clips({"a": 5, "b": 1}), {"scheme": "grouped"}, "'b' has only one group to divide .*for test"),
        (plain_clips({"a": 5, "b": 2}), {"scheme": "grouped"}, "'b' has only one group to divide .*for validation"),
        (plain_clips({"a": 5, "b": 4}), {"scheme": "folds"}, r"'b' has 4 groups, fewer than data\.split\.folds = 5.*folds=4"),
        (plain_clips({"a": 5, "b": 1}), {"scheme": "folds", "folds": 2}, "'b' has 1 group, .*; add clips"),
        (plain_clips({"a": 5, "b": 2}), {"scheme": "folds", "folds": 2}, "'b' has only one group to divide .*for validation"),
        (plain_clips({"a": 5, "b": 2}), {"scheme": "random"}, "'b' has only one clip"),
        (plain_clips({"a": 5, "b": 5}), {"scheme": "given"}, "a/000.mp4 has no split"),
        (given({("a", "train"): 4, ("a", "test"): 1, ("b", "train"): 4}), {"scheme": "given"}, "'b' has no test clips"),
        (given({("a", "train"): 4, ("a", "test"): 1, ("b", "test"): 4}), {"scheme": "given"}, "'b' has no train clips"),
        (
            given({("a", "train"): 4, ("a", "test"): 1, ("a", "validation"): 1, ("b", "train"): 4, ("b", "test"): 1}),
            {"scheme": "given"},
            "'b' has no validation clips",
        ),
    ],
)
def test_a_class_left_without_a_part_is_named(clips, scheme, message):
    with pytest.raises(UserError, match=message):
        split_clips(clips, split(**scheme), seed=1)
