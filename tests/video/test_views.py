"""Views: indices, crops, and limits of augmentation."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.settings import Augment
from pipeline.video.sampling import Sampling
from pipeline.video.views import (
    centre_square,
    frame_mask,
    mirrored_labels,
    random_clip_indices,
    test_views,
    train_view,
    uniform_clip_indices,
)

uniform_clip_indices.__test__ = test_views.__test__ = False
NOTHING = Augment(crop=1.0, flip=False, brightness=0.0, contrast=0.0, saturation=0.0, jitter=False)


@pytest.mark.parametrize(
    ("total", "count", "views", "starts"),
    [(10, 4, 1, [3]), (10, 4, 2, [1, 4]), (10, 4, 3, [1, 3, 5]), (4, 4, 3, [0, 0, 0]), (100, 1, 2, [24, 74])],
)
def test_views_are_evenly_spaced(total, count, views, starts):
    indices = uniform_clip_indices(total, Sampling(count, 8), views).numpy()
    np.testing.assert_array_equal(indices, np.array(starts)[:, None] + np.arange(count))


def test_a_clip_shorter_than_a_view_is_repeated():
    np.testing.assert_array_equal(uniform_clip_indices(3, Sampling(7, 8), 1).numpy(), [[0, 1, 2, 0, 1, 2, 0]])
    np.testing.assert_array_equal(random_clip_indices(1, Sampling(3, 8), [0, 0]).numpy(), [0, 0, 0])


def test_a_clip_shorter_than_a_view_is_padded_with_its_last_frame_and_masked():
    sampling = Sampling(5, 8, short_clips="pad")
    np.testing.assert_array_equal(uniform_clip_indices(3, sampling, 2).numpy(), [[0, 1, 2, 2, 2]] * 2)
    np.testing.assert_array_equal(random_clip_indices(3, sampling, [0, 0]).numpy(), [0, 1, 2, 2, 2])
    np.testing.assert_array_equal(frame_mask(3, 5).numpy(), [True, True, True, False, False])
    np.testing.assert_array_equal(frame_mask(9, 5).numpy(), [True] * 5)
    np.testing.assert_array_equal(uniform_clip_indices(9, sampling, 1).numpy(), [[2, 3, 4, 5, 6]])


@pytest.mark.parametrize("short_clips", ["repeat", "pad"])
def test_the_view_is_the_first_frames_with_sampling_first(short_clips):
    np.testing.assert_array_equal(uniform_clip_indices(9, Sampling(4, 8, "first", short_clips), 1).numpy(), [[0, 1, 2, 3]])


@pytest.mark.parametrize("where", ["uniform", "first"])
def test_served_views_of_a_short_clip_are_not_padded(where):
    clip = frames((3, 20, 32, 3))
    padded = Sampling(5, 16, where, "pad")
    assert test_views(clip[None], padded, 2).shape == (1, 2, 3, 16, 16, 3)
    np.testing.assert_array_equal(test_views(clip[None], padded, 2), test_views(clip[None], Sampling(3, 16, where), 2))


def test_training_views_start_anywhere_within_the_clip():
    starts = [random_clip_indices(10, Sampling(4, 8), [1, number]).numpy() for number in range(200)]
    assert {int(indices[0]) for indices in starts} == set(range(7))
    assert all(np.array_equal(indices, indices[0] + np.arange(4)) for indices in starts)


def frames(shape=(4, 20, 32, 3), seed=0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).integers(0, 256, shape), tf.uint8)


def test_the_centre_square_is_not_resized_if_sizes_agree():
    given = frames()
    np.testing.assert_allclose(centre_square(given, 20), given.numpy()[:, :, 6:26] / 255.0, rtol=1e-6)
    assert centre_square(given, 10).shape == (4, 10, 10, 3)
    assert centre_square(frames((4, 32, 20, 3)), 20).shape == (4, 20, 20, 3)


def test_clips_in_a_batch_get_the_views_they_would_get_alone():
    batch = tf.stack([frames(seed=1), frames(seed=2)])
    sampling = Sampling(2, 16)
    together = test_views(batch, sampling, 3)
    assert together.shape == (2, 3, 2, 16, 16, 3)
    for number in range(2):
        np.testing.assert_array_equal(together[number], test_views(batch[number : number + 1], sampling, 3)[0])
    indices = uniform_clip_indices(4, sampling, 3).numpy()
    for view in range(3):
        np.testing.assert_allclose(together[0, view], centre_square(tf.gather(batch[0], indices[view]), 16), rtol=1e-5)


def view(given, label=0, *, seed, augment=NOTHING, size=20, mirrored=(1, 0)):
    return train_view(given, label, size=size, augment=augment, mirrored=list(mirrored), seed=tf.constant([3, seed], tf.int64))


def test_without_augmentation_a_training_view_is_the_centre():
    np.testing.assert_allclose(view(frames(), seed=1).frames, centre_square(frames(), 20), rtol=1e-6)


def test_equal_seeds_give_equal_views_and_other_seeds_do_not():
    augment = Augment(crop=0.3, flip=True, brightness=0.2, contrast=0.2, saturation=0.2, jitter=True)
    one, same, other = (view(frames(), seed=seed, augment=augment) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.frames, same.frames)
    assert np.abs(one.frames - other.frames).max() > 0.05
    assert one.frames.shape == (4, 20, 20, 3)
    assert float(tf.reduce_min(one.frames)) >= 0.0 and float(tf.reduce_max(one.frames)) <= 1.0


def test_a_mirrored_view_has_the_mirrored_label():
    augment = NOTHING.model_copy(update={"flip": True})
    plain = centre_square(frames(), 20).numpy()
    labels = []
    for seed in range(40):
        result = view(frames(), 0, seed=seed, augment=augment)
        labels.append(int(result.label))
        np.testing.assert_allclose(result.frames, plain[:, :, ::-1] if result.label == 1 else plain, rtol=1e-6)
    assert 8 < sum(labels) < 32


def test_a_class_that_may_not_be_mirrored_is_not():
    augment = NOTHING.model_copy(update={"flip": True})
    for seed in range(20):
        result = view(frames(), 0, seed=seed, augment=augment, mirrored=(-1, 1))
        assert int(result.label) == 0
        np.testing.assert_allclose(result.frames, centre_square(frames(), 20), rtol=1e-6)


def test_the_crop_is_the_same_in_every_frame_and_within_its_bounds():
    column, row = np.meshgrid(np.arange(32), np.arange(20))
    positions = np.broadcast_to(np.stack([column * 8, row * 12, column * 0], -1), (4, 20, 32, 3)).astype(np.uint8)
    augment = NOTHING.model_copy(update={"crop": 0.25})
    widths = []
    for seed in range(60):
        result = view(tf.constant(positions), seed=seed, augment=augment, size=40).frames.numpy()
        for number in range(1, 4):
            np.testing.assert_array_equal(result[0], result[number])
        widths.append((result[0, 0, -1, 0] - result[0, 0, 0, 0]) * 255 / 8 + 1)
    assert 9 <= min(widths) < 12 and 18 < max(widths) <= 21  # sides from sqrt(0.25) * 20 to 20


def test_colours_shift_equally_in_every_frame_and_grey_stays_grey():
    grey = tf.constant(np.full((3, 20, 20, 3), 100), tf.uint8)
    augment = NOTHING.model_copy(update={"brightness": 0.3, "saturation": 0.5})
    values = []
    for seed in range(30):
        result = view(grey, seed=seed, augment=augment).frames.numpy()
        assert np.ptp(result) < 1e-6
        values.append(float(result[0, 0, 0, 0]))
    assert min(values) < 100 / 255 - 0.15 and max(values) > 100 / 255 + 0.15
    assert min(values) >= 100 / 255 - 0.3 - 1e-6 and max(values) <= 100 / 255 + 0.3 + 1e-6


@pytest.mark.parametrize("which", ["brightness", "contrast", "saturation", None])
def test_colours_shift_in_brightness_then_contrast_then_saturation(which):
    """`which` alone, or all three; compared with one step after the other."""
    amounts = {name: 0.3 if which in (name, None) else 0.0 for name in ("brightness", "contrast", "saturation")}
    given = tf.constant(np.random.default_rng(5).integers(60, 196, (3, 20, 20, 3)), tf.uint8)  # so that nothing is clipped
    plain = given.numpy() / 255
    for seed in range(5):
        found = view(given, seed=seed, augment=NOTHING.model_copy(update=amounts)).frames.numpy()
        seeds = tf.random.split(tf.constant([3, seed], tf.int64), 3)
        draws = tf.random.stateless_uniform([3], seeds[2], -1.0, 1.0).numpy()
        shift, contrast, saturation = draws * np.array(list(amounts.values()))
        expected = plain + shift
        mean = expected.mean(axis=(0, 1, 2))
        expected = mean + (expected - mean) * (1 + contrast)
        luma = expected @ [0.299, 0.587, 0.114]
        expected = luma[..., np.newaxis] + (expected - luma[..., np.newaxis]) * (1 + saturation)
        np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-6)
        assert np.abs(found - plain).max() > 0.001


@pytest.mark.parametrize("side", [20, 33, 40, 57])
def test_squares_are_resized_as_with_antialiasing(side):
    square = tf.constant(np.random.default_rng(side).integers(0, 256, (2, side, side, 3)), tf.uint8)
    expected = tf.image.resize(tf.cast(square, tf.float32) / 255, [40, 40], antialias=True)
    np.testing.assert_allclose(centre_square(square, 40), expected, atol=1e-6)


def test_mirrored_labels():
    assert mirrored_labels(["a", "b", "c"], True) == [0, 1, 2]
    assert mirrored_labels(["a", "b", "c"], False) == [-1, -1, -1]
    assert mirrored_labels(["a", "b", "c"], {"a": "b", "b": "a"}) == [1, 0, 2]
    with pytest.raises(ValueError, match="'d'"):
        mirrored_labels(["a", "b"], {"a": "d"})
