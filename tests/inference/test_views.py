"""Views cut out in NumPy equal those cut out in TensorFlow."""

import numpy as np
import pytest

import pipeline.inference.views as views_module
from pipeline.inference.views import centre_square, read_views
from pipeline.video.sampling import Sampling, uniform_indices


def images(total, height=24, width=32):
    return np.random.default_rng(total).integers(0, 256, (total, height, width, 3), np.uint8)


def source(clip, calls):
    def frames():
        calls.append(1)
        return ((200_000 * number, image) for number, image in enumerate(clip))

    return frames


@pytest.mark.parametrize("total", [1, 2, 7, 8, 9, 23, 100])
@pytest.mark.parametrize(("count", "views"), [(1, 1), (8, 1), (8, 2), (5, 10)])
@pytest.mark.parametrize("where", ["uniform", "first"])
def test_frames_equal_those_of_evaluation(total, count, views, where):
    from pipeline.video.views import uniform_clip_indices as evaluated

    sampling = Sampling(count, 24, where)
    np.testing.assert_array_equal(sampling.indices(total, views), evaluated(total, sampling, views).numpy())


@pytest.mark.parametrize("total", [1, 5, 8, 9])
def test_frames_of_a_short_clip_are_those_that_are_not_masked(total):
    from pipeline.video.views import frame_mask
    from pipeline.video.views import uniform_clip_indices as evaluated

    sampling = Sampling(8, 24, short_clips="pad")
    kept = evaluated(total, sampling, 2).numpy()[:, frame_mask(total, 8).numpy()]
    np.testing.assert_array_equal(sampling.indices(total, 2), kept)


@pytest.mark.parametrize(("height", "width"), [(24, 32), (24, 33), (41, 24), (24, 24)])
def test_pixels_equal_those_of_evaluation(height, width):
    import tensorflow as tf

    from pipeline.video.views import test_views as evaluated

    clip = images(11, height, width)
    found = read_views(source(clip, []), 5.0, 24, lambda total: uniform_indices(total, 4, 3))
    expected = evaluated(tf.constant(clip[None]), Sampling(4, 24), 3)[0].numpy()
    np.testing.assert_array_equal(found.views, expected)
    assert found.views.dtype == np.float32 and found.frames == 11 and found.seconds == pytest.approx(11 / 5)


def test_a_long_clip_is_decoded_twice_with_the_same_result(monkeypatch):
    clip, once, twice = images(50), [], []
    short = read_views(source(clip, once), 5.0, 24, lambda total: uniform_indices(total, 6, 3))
    monkeypatch.setattr(views_module, "MAX_FRAMES", 20)
    long = read_views(source(clip, twice), 5.0, 24, lambda total: uniform_indices(total, 6, 3))
    np.testing.assert_array_equal(short.views, long.views)
    assert (len(once), len(twice)) == (1, 2)


def test_a_frame_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="32x24 pixels, where the short side should be 16"):
        centre_square(images(1)[0], 16)
