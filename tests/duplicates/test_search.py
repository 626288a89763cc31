"""What is a duplicate and what is not: copies of every kind, and moments of one scene, still and uniform clips."""

import numpy as np
import pytest

from pipeline.duplicates.fingerprints import RATE
from pipeline.duplicates.search import DuplicateSet, Pair, find_duplicates
from tests.duplicates.scenes import scene, taken

CLIP = scene(1, 1, seconds=4)


def noisy(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """As of an encoder, at another contrast and brightness."""
    noise = np.random.default_rng(seed).normal(0, 6, images.shape)
    return np.clip(0.8 * images + 20 + noise, 0, 255)


def kinds(**clips: np.ndarray) -> dict[tuple[str, str], str]:
    found = find_duplicates({name: taken(images, name) for name, images in clips.items()})
    return {(pair.first, pair.second): pair.kind for one in found for pair in one.pairs}


@pytest.mark.parametrize(
    ("copy", "kind"),
    [
        (noisy(CLIP), "re-encoded"),
        (noisy(CLIP[3:]), "re-encoded"),
        (noisy(CLIP[:, :, ::-1]), "mirrored"),
        (noisy(CLIP[: len(CLIP) // 2]), "trimmed"),
        (noisy(CLIP[len(CLIP) // 2 :]), "trimmed"),
        (noisy(CLIP[15:-15]), "trimmed"),
        (noisy(CLIP[20:, :, ::-1]), "mirrored and trimmed"),
    ],
)
def test_copies_are_found(copy, kind):
    for clips in ({"a": CLIP, "b": copy}, {"a": copy, "b": CLIP}):
        assert kinds(**clips, other=scene(2, 1, seconds=4), later=scene(1, 2, seconds=4)) == {("a", "b"): kind}


def test_score_is_the_correlation_of_motion():
    pair = find_duplicates({"a": taken(CLIP, "a"), "b": taken(noisy(CLIP), "b")})[0].pairs[0]
    assert 0.97 < pair.score < 1
    assert find_duplicates({"a": taken(CLIP, "a"), "b": taken(CLIP / 2, "b")})[0].pairs[0].score == pytest.approx(1, abs=1e-3)


def test_identical_files_need_no_motion():
    black = np.zeros((50, 72, 96))
    clips = {"c": taken(black, "x"), "a": taken(black, "x"), "b": taken(black, "y"), "d": taken(black[:5], "x")}
    (found,) = find_duplicates(clips)
    assert found == DuplicateSet(("a", "c", "d"), (Pair("a", "c", "identical", 1.0), Pair("a", "d", "identical", 1.0)))


def test_moments_of_one_scene_are_not():
    assert kinds(**{f"clip{moment}": noisy(scene(1, moment), moment) for moment in range(30)}) == {}


def test_still_clips_are_not():
    image = scene(1, 1, seconds=0.05)
    still = {f"still{seed}": noisy(np.repeat(image, 60, axis=0), seed) for seed in range(4)}
    uniform = {f"black{seed}": noisy(np.zeros((60, 72, 96)), seed) for seed in range(4)}
    assert kinds(**still, **uniform, constant=np.repeat(image, 60, axis=0), again=np.repeat(image, 70, axis=0)) == {}


def test_a_change_of_brightness_is_no_motion():
    image = np.repeat(scene(1, 1, seconds=0.05), 80, axis=0).astype(float)
    fade = np.linspace(0, 50, 80)[:, None, None]
    assert kinds(a=image + fade, b=noisy(image + fade)) == {}


def test_the_same_movement_elsewhere_is_not():
    assert kinds(a=scene(1, 1), b=scene(2, 1)) == {}


def test_too_little_in_common_is_not():
    assert kinds(a=CLIP[:50], b=noisy(CLIP[30:])) == {}, "20 of 50 frames"
    assert kinds(a=CLIP[: RATE - 2], b=noisy(CLIP)) == {}, "less than a second"


def test_a_partial_overlap_must_agree_more():
    """By chance two repetitions of a movement agree in a part of them rather than in the whole."""
    disturbed = 0.75 * CLIP + 0.25 * scene(1, 9, seconds=4)
    (found,) = find_duplicates({"a": taken(CLIP, "a"), "b": taken(disturbed, "b")})
    assert 0.9 < found.pairs[0].score < 0.96
    assert kinds(a=CLIP[:60], b=CLIP[20:]) == {("a", "b"): "trimmed"}
    assert kinds(a=CLIP[:60], b=disturbed[20:]) == {}


def test_sets_are_transitive_and_independent_of_order():
    clips = {
        "e": taken(noisy(CLIP[:, :, ::-1]), "5"),
        "a": taken(CLIP[:50], "1"),
        "c": taken(CLIP, "3"),
        "b": taken(CLIP[30:], "2"),
        "d": taken(scene(4, 4), "4"),
        "f": taken(scene(4, 4), "4"),
    }
    found = find_duplicates(clips)
    assert [one.members for one in found] == [("a", "b", "c", "e"), ("d", "f")]
    assert found == find_duplicates(dict(sorted(clips.items())))
    assert ("a", "b") not in [pair[:2] for pair in found[0].pairs]


def test_nothing_is_found_in_nothing():
    assert find_duplicates({}) == [] and find_duplicates({"a": taken(CLIP, "a")}) == []


def test_rows_and_chunks_do_not_change_the_result(monkeypatch):
    clips = {f"{number:02d}": taken(scene(1, number), str(number)) for number in range(12)}
    clips |= {
        f"x{number:02d}": taken(noisy(scene(1, number)[:, :, ::-1] if number % 2 else scene(1, number)), f"x{number}")
        for number in range(12)
    }
    found = find_duplicates(clips)
    assert [one.members for one in found] == [(f"{number:02d}", f"x{number:02d}") for number in range(12)]
    monkeypatch.setattr("pipeline.duplicates.search._ROWS", 5)
    monkeypatch.setattr("pipeline.duplicates.search._CELLS", 10_000)
    assert find_duplicates(clips) == found
