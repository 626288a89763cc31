"""The order of a view's frames."""

import numpy as np
import pytest

from pipeline.video.sampling import FRAME_ORDERS, Sampling


@pytest.mark.parametrize("total", [1, 3, 8, 100])
@pytest.mark.parametrize("short_clips", ["repeat", "pad"])
def test_as_recorded_nothing_changes(total, short_clips):
    np.testing.assert_array_equal(Sampling(8, 32, "uniform", short_clips).positions(total, "recorded", 1), np.arange(8))


@pytest.mark.parametrize(("total", "middle"), [(100, 4), (8, 4), (5, 2), (1, 0)])
def test_the_middle_frame_of_those_that_are_shown_is_repeated(total, middle):
    assert Sampling(8, 32).positions(total, "repeated", 1).tolist() == [middle] * 8


def test_shuffled_views_have_each_frame_once_in_an_order_of_their_seed():
    sampling = Sampling(16, 32)
    orders = [sampling.positions(100, "shuffled", seed).tolist() for seed in range(20)]
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert len({tuple(order) for order in orders}) == 20
    assert orders[3] == sampling.positions(100, "shuffled", 3).tolist()
    assert np.mean([order[0] for order in orders]) == pytest.approx(7.5, abs=3.5), "not close to where it was"


def test_padding_stays_padding():
    """Of a clip of 5 frames positions 5 to 7 are padding, which is masked: only the real frames change their order."""
    sampling = Sampling(8, 32, "uniform", "pad")
    assert sampling.positions(5, "repeated", 1).tolist() == [2, 2, 2, 2, 2, 5, 6, 7]
    shuffled = [sampling.positions(5, "shuffled", seed).tolist() for seed in range(9)]
    assert all(sorted(order[:5]) == [0, 1, 2, 3, 4] and order[5:] == [5, 6, 7] for order in shuffled)
    assert len({tuple(order) for order in shuffled}) > 5


@pytest.mark.parametrize("order", FRAME_ORDERS)
def test_a_clip_of_one_frame_is_the_same_in_any_order_once_it_is_padded(order):
    assert Sampling(4, 32, "uniform", "pad").positions(1, order, 7).tolist() == [0, 1, 2, 3]
