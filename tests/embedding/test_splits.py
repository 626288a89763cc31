"""Features are kept by clip: whatever else is in a split, a clip's features are computed once, and are the same."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.embedding.compute import compute
from pipeline.embedding.splits import embed_reordered, embed_split
from pipeline.embedding.store import FeatureStore
from pipeline.embedding.views import ClipRecord, ViewPlan, read_clip_records, spread_clips
from pipeline.settings import Augment
from pipeline.training.datasets import ViewRecipe
from pipeline.video.records import serialize_clip, write_shard
from pipeline.video.sampling import Sampling

AUGMENT = Augment(crop=0.5, flip=True, brightness=0.1, contrast=0.1, saturation=0.1, jitter=True)
CLASSES = ["left", "right", "up"]


class Backbone:
    """Features: the mean colour of the left and of the right half of a view."""

    calls = 0

    def __call__(self, views):
        self.calls += 1
        views = np.asarray(views)
        return np.concatenate([half.mean((1, 2, 3)) for half in np.split(views, 2, axis=3)], axis=1)


def write_records(folder: Path, clips: list[int], label=lambda number: number % 2) -> list[Path]:
    """Clips, each of random frames of its number."""
    jpegs = {number: np.random.default_rng(number).integers(0, 256, (6, 32, 40, 3), np.uint8) for number in clips}
    encoded = {number: [tf.io.encode_jpeg(image).numpy() for image in images] for number, images in jpegs.items()}
    folder.mkdir(parents=True)
    file = folder / "records"
    write_shard(
        file, [serialize_clip(f"x/{n}-{folder.name}", label(n), CLASSES[label(n)], f"g{n}", encoded[n], range(6)) for n in clips]
    )
    return [file]


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "store", 1.0, (6,))
    yield store
    store.close()


def embed(tmp_path, store, files, clips, *, split="train", views=3, flip=True, made_by="weights", seed=1, backbone=None):
    recipe = ViewRecipe(Sampling(3, 32, "uniform", "repeat"), AUGMENT, flip, CLASSES, seed)
    out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
    out.mkdir()
    backbone = backbone or Backbone()
    counts = embed_split(
        split, files, clips, {"by": made_by}, recipe, views, store, lambda v: compute(backbone, v, recipe, 4), out
    )
    return counts, np.load(out / f"{split}.npy"), np.load(out / f"{split}_labels.npy"), out


def test_more_clips_in_another_order_compute_only_what_is_new(tmp_path, store):
    first, features, labels, _ = embed(tmp_path, store, write_records(tmp_path / "a", [1, 2, 3]), 3)
    assert (first.stored, first.computed) == (0, 9)
    second, more, more_labels, out = embed(tmp_path, store, write_records(tmp_path / "b", [5, 3, 4, 1, 2]), 5)
    assert (second.stored, second.computed) == (9, 6)
    for row, number in ((1, 3), (3, 1), (4, 2)):
        np.testing.assert_array_equal(more[row], features[number - 1])
        np.testing.assert_array_equal(more_labels[row], labels[number - 1])
    assert (out / "train.csv").read_text().splitlines()[:2] == ["clip,group", "x/5-b,g5"]
    alone = FeatureStore(tmp_path / "other", 1.0, (6,))
    _, again, _, _ = embed(tmp_path, alone, write_records(tmp_path / "c", [5, 3, 4, 1, 2]), 5)
    np.testing.assert_array_equal(again, more)
    assert len(np.unique(more.reshape(15, -1), axis=0)) == 15, "every view is another"


def test_more_views_compute_only_the_new_ones(tmp_path, store):
    files = write_records(tmp_path / "a", [1, 2])
    _, three, _, _ = embed(tmp_path, store, files, 2)
    counts, five, _, _ = embed(tmp_path, store, files, 2, views=5)
    assert (counts.stored, counts.computed) == (6, 4)
    np.testing.assert_array_equal(five[:, :3], three)


@pytest.mark.parametrize("changes", [{"made_by": "other"}, {"seed": 2}, {"flip": False}, {"split": "test"}])
def test_what_decides_features_decides_the_key(tmp_path, store, changes):
    """With another seed or without mirroring only the centred view is the same; of two evenly spaced views none is centred."""
    files = write_records(tmp_path / "a", [1, 2])
    embed(tmp_path, store, files, 2)
    counts, *_ = embed(tmp_path, store, files, 2, views=2 if "split" in changes else 3, **changes)
    expected = {"made_by": (0, 6), "seed": (2, 4), "flip": (2, 4), "split": (0, 4)}
    assert (counts.stored, counts.computed) == expected[next(iter(changes))]


def test_labels_of_mirrored_views_follow_from_the_classes_of_the_run(tmp_path, store):
    files = write_records(tmp_path / "a", list(range(12)))
    _, features, same, _ = embed(tmp_path, store, files, 12, views=4)
    assert (same == (np.arange(12) % 2)[:, None]).all(), "mirrored clips keep their class"
    counts, again, mapped, _ = embed(tmp_path, store, files, 12, views=4, flip={"left": "right", "right": "left"})
    assert counts.computed == 0
    np.testing.assert_array_equal(again, features)
    changed = mapped != same
    assert not changed[:, 0].any() and 0.2 < changed[:, 1:].mean() < 0.8
    assert (mapped[changed] == 1 - same[changed]).all()


def test_a_killed_run_resumes(tmp_path, store):
    files = write_records(tmp_path / "a", list(range(6)))

    class Killed(Backbone):
        def __call__(self, views):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(views)

    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path, store, files, 6, backbone=Killed())
    counts, *_ = embed(tmp_path, store, files, 6)
    assert (counts.stored, counts.computed) == (8, 10)


def test_padded_frames_have_no_features(tmp_path):
    files = write_records(tmp_path / "a", [1])
    store = FeatureStore(tmp_path / "store", 1.0, (8, 2))
    recipe = ViewRecipe(Sampling(8, 32, "uniform", "pad"), AUGMENT, True, CLASSES, 1)

    def ones(views):
        return np.ones((len(views), 8, 2), np.float32)

    (tmp_path / "out").mkdir()
    embed_split("test", files, 1, {}, recipe, 2, store, lambda v: compute(ones, v, recipe, 4), tmp_path / "out")
    mask = np.load(tmp_path / "out/test_mask.npy")
    assert mask.shape == (1, 2, 8) and mask[0].tolist() == [[True] * 6 + [False] * 2] * 2
    np.testing.assert_array_equal(np.load(tmp_path / "out/test.npy")[..., 0], mask)


def reorder(tmp_path, store, files, most, *, sampling=None, views=2, backbone=None):
    recipe = ViewRecipe(sampling or Sampling(4, 32, "uniform", "repeat"), AUGMENT, True, CLASSES, 1)
    out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
    out.mkdir()
    backbone = backbone or Backbone()
    counts = embed_reordered(files, most, {"by": "weights"}, recipe, views, store, lambda v: compute(backbone, v, recipe, 4), out)
    return counts, np.load(out / "reordered.npy"), out


class Frames:
    """Features: the mean brightness of each frame of a view."""

    def __call__(self, views):
        return np.asarray(views).mean((2, 3, 4))[:, :, None]


def test_one_view_of_a_clip_in_each_order(tmp_path):
    """Clips of 6 frames: the second of two views of 4 starts at frame 1, and its middle frame is frame 3."""
    files = write_records(tmp_path / "a", [1, 2, 3])
    store = FeatureStore(tmp_path / "store", 1.0, (4, 1))
    sampling = Sampling(4, 32, "uniform", "repeat")
    recipe = ViewRecipe(sampling, AUGMENT, True, CLASSES, 1)
    (tmp_path / "test").mkdir()
    args = ({"by": "weights"}, recipe, 2, store, lambda v: compute(Frames(), v, recipe, 4), tmp_path / "test")
    embed_split("test", files, 3, *args)
    counts, features, out = reorder(tmp_path, store, files, 10, backbone=Frames())
    assert (counts.stored, counts.computed) == (3, 6), "as recorded it is a view of the test split"
    assert features.shape == (3, 3, 4, 1)
    recorded, repeated, shuffled = np.moveaxis(features[..., 0], 1, 0)
    np.testing.assert_array_equal(recorded, np.load(tmp_path / "test/test.npy")[:, 1, :, 0])
    np.testing.assert_array_equal(repeated, np.repeat(recorded[:, 2:3], 4, axis=1))
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(recorded))
    assert (shuffled != recorded).any()
    assert np.load(out / "reordered_labels.npy").tolist() == [[1] * 3, [0] * 3, [1] * 3]
    again, same, _ = reorder(tmp_path, store, files, 10, backbone=Frames())
    assert (again.stored, again.computed) == (9, 0)
    np.testing.assert_array_equal(same, features)


def test_clips_have_random_orders_of_their_own_that_do_not_depend_on_other_clips(tmp_path):
    sampling = Sampling(4, 32, "uniform", "repeat")
    plan = ViewPlan({}, ViewRecipe(sampling, AUGMENT, True, CLASSES, 1), "test", 2)
    clips = read_clip_records(write_records(tmp_path / "a", list(range(20))))
    orders = [plan.reordered(clip)[2].positions for clip in clips]
    assert len(set(orders)) > 8, "of 24 orders"
    alone = read_clip_records(write_records(tmp_path / "b", [7]))
    assert plan.reordered(alone[0])[2].positions == orders[7]


def test_reordered_padding_stays_padding(tmp_path):
    files = write_records(tmp_path / "a", [1])
    store = FeatureStore(tmp_path / "store", 1.0, (8, 1))
    _, features, out = reorder(tmp_path, store, files, 10, sampling=Sampling(8, 32, "uniform", "pad"), backbone=Frames())
    recorded, repeated, shuffled = features[0, ..., 0]
    assert (features[0, :, 6:] == 0).all() and (features[0, :, :6] > 0).all()
    assert np.load(out / "reordered_mask.npy").tolist() == [[[True] * 6 + [False] * 2] * 3]
    np.testing.assert_array_equal(repeated[:6], [recorded[3]] * 6)
    np.testing.assert_array_equal(np.sort(shuffled[:6]), np.sort(recorded[:6]))


def test_clips_for_the_baselines_are_spread_over_classes_and_groups():
    """60 clips of class 0 in 6 groups, 20 of class 1 in 4: every class keeps its share, and every group has some."""

    def clip(number: int, label: int, group: int) -> ClipRecord:
        return ClipRecord(None, f"{label}-{group}-{number}", f"{label}-{group}", label, 6, "")

    clips = [clip(number, 0, group) for number in range(10) for group in range(6)]
    clips += [clip(number, 1, group) for number in range(5) for group in range(4)]
    chosen = spread_clips(clips, 20)
    assert [sum(clip.label == label for clip in chosen) for label in (0, 1)] == [15, 5]
    assert {clip.group for clip in chosen} == {clip.group for clip in clips}
    assert chosen == sorted(chosen, key=clips.index) and len(set(chosen)) == 20
    assert spread_clips(clips, 80) == spread_clips(clips, 1000) == clips
    assert {clip.clip for clip in spread_clips(clips[::-1], 20)} == {clip.clip for clip in chosen}
