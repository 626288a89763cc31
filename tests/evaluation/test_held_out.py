"""Classes that are held out: a class far from all others is refused, one that resembles another is not."""

import numpy as np
import pytest

from pipeline.evaluation import held_out
from pipeline.evaluation.held_out import ClipFeatures, hold_out_classes
from pipeline.settings import Unknown

CLASSES = ["twin", "other twin", "far", "farther"]
# The twins lie together far from the others; "far" lies between all, where nothing is certain.
CENTRES = np.array([[6, 0, 0.4], [6, 0, -0.4], [0, 0, 0], [-6, 6, 0]], np.float32)
UNKNOWN = Unknown(by="coverage", level=0.9)


def features(count: int, seed: int, centres=CENTRES) -> ClipFeatures:
    """`count` clips a class around its centre; two clips a group."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(centres)), count)
    values = centres[labels] + 0.15 * random.normal(size=(len(labels), centres.shape[1]))
    return ClipFeatures(values.astype(np.float32), labels, np.array([f"g{index // 2}" for index in range(len(labels))]))


@pytest.fixture(scope="module")
def measured():
    return hold_out_classes(features(30, 1), features(20, 2), features(10, 3), CLASSES, UNKNOWN)


def test_every_class_is_held_out_once(measured):
    assert [row.class_name for row in measured.classes] == CLASSES and measured.of == 4
    assert {(row.clips, row.groups) for row in measured.classes} == {(10, 5)}
    assert "logistic regression" in measured.method and measured.reason == ""


def test_a_class_like_another_one_passes_for_it_and_one_between_all_is_refused(measured):
    twin, other, far, _ = measured.classes
    assert twin.refused <= 5 and other.refused <= 5 and max(twin.auroc, other.auroc) < 0.7
    assert far.refused == 10 and far.auroc > 0.95


def test_the_others_get_their_class_as_often_as_was_asked_for(measured):
    for row in measured.classes:
        assert 0.7 < row.coverage <= 1 and row.accuracy > 0.9 and 0.4 < row.threshold < 1


def test_means_are_over_classes(measured):
    means = measured.means()
    assert means["refused"] == pytest.approx(np.mean([row.refused / 10 for row in measured.classes]))
    assert means["auroc"] == pytest.approx(np.mean([row.auroc for row in measured.classes]))


def test_the_background_class_is_not_held_out_but_absorbs_what_resembles_it():
    centres = np.vstack([CENTRES, [[0, 0, 0.1]]]).astype(np.float32)  # the background lies where "far" lies
    found = hold_out_classes(
        features(30, 1, centres), features(20, 2, centres), features(10, 3, centres), [*CLASSES, "none"], UNKNOWN, background=4
    )
    assert [row.class_name for row in found.classes] == CLASSES and found.of == 4
    assert found.classes[2].refused == 10


def test_with_many_classes_evenly_spaced_ones_are_held_out(monkeypatch):
    monkeypatch.setattr(held_out, "MAX_CLASSES", 3)
    centres = 4 * np.eye(7, dtype=np.float32)
    names = list("abcdefg")
    found = hold_out_classes(features(6, 1, centres), features(4, 2, centres), features(4, 3, centres), names, UNKNOWN)
    assert [row.class_name for row in found.classes] == ["a", "d", "g"] and found.of == 7


def test_training_clips_beyond_the_limit_are_not_used(monkeypatch):
    monkeypatch.setattr(held_out, "MAX_CLIPS", 30)
    train = features(30, 1)
    misleading = features(30, 4, CENTRES[::-1])
    both = ClipFeatures(*(np.concatenate(pair) for pair in zip(train, misleading, strict=True)))
    splits = features(20, 2), features(10, 3)
    assert hold_out_classes(both, *splits, CLASSES, UNKNOWN) == hold_out_classes(train, *splits, CLASSES, UNKNOWN)


def test_with_three_classes_two_remain_and_with_two_none_can_be_held_out():
    def measure(count):
        splits = (features(10, seed, CENTRES[1 : 1 + count]) for seed in (1, 2, 3))
        return hold_out_classes(*splits, CLASSES[1 : 1 + count], UNKNOWN)

    assert len(measure(3).classes) == 3
    assert measure(2).classes == [] and "three classes" in measure(2).reason and measure(2).means() == {}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_if_all_clips_of_a_split_are_of_one_class_none_can_be_held_out(split):
    splits = {name: features(10, seed) for seed, name in enumerate(("train", "validation", "test"))}
    splits[split] = splits[split].where(splits[split].labels == 1)
    found = hold_out_classes(*splits.values(), CLASSES, UNKNOWN)
    assert found.classes == [] and "three classes" in found.reason
