"""Covering finds the part of a clip that a known classifier looks at."""

import numpy as np
import pytest

from pipeline.explanation.occlusion import GRID, occlude

SIZE = 10  # not a multiple of GRID
INDICES = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])
SEGMENTS = [np.array([0]), np.array([1, 2]), np.array([3]), np.array([4, 5])]


def clip() -> np.ndarray:
    """Two views of a black clip with a white patch in the second row and last column of the grid, in frames 1 and 2."""
    views = np.zeros((2, 4, SIZE, SIZE, 3), np.float32)
    for view, indices in enumerate(INDICES):
        views[view, np.isin(indices, [1, 2]), 2:5, 8:] = 1
    return views


def brightness_of_the_patch(views: np.ndarray) -> np.ndarray:
    """Class 1: a share of how bright the patch is in each view's brightest frame."""
    bright = views[:, :, 2:5, 8:].mean(axis=(2, 3, 4)).max(axis=1)
    return np.column_stack([1 - bright, bright])


def test_the_part_that_matters_is_found_in_space_and_time():
    views = clip()
    found = occlude(brightness_of_the_patch, views, INDICES, SEGMENTS, 1, batch=3)
    mean = views.mean()
    assert found.probability == 1
    space = np.array(found.space)
    assert space.shape == (GRID, GRID) and space.argmax() == 1 * GRID + 3
    assert space[1, 3] == pytest.approx(1 - mean, abs=1e-6)
    assert np.abs(np.delete(space.ravel(), 7)).max() == 0
    assert found.time == pytest.approx([0, 1 - mean, 0, 0], abs=1e-6)


def test_of_another_class_the_signs_are_reversed():
    views = clip()
    found = occlude(brightness_of_the_patch, views, INDICES, SEGMENTS, 0, batch=100)
    assert found.probability == 0 and np.array(found.space)[1, 3] == pytest.approx(views.mean() - 1, abs=1e-6)
    assert found.time[1] == pytest.approx(views.mean() - 1, abs=1e-6)


def test_a_moment_that_only_one_view_sees_counts_half_and_the_other_view_is_not_computed_again():
    views = np.zeros((2, 4, SIZE, SIZE, 3), np.float32)
    views[0, 1] = 1  # frame 1, which only the first view has
    sizes = []

    def any_white_frame(block: np.ndarray) -> np.ndarray:
        sizes.append(len(block))
        white = block.min(axis=(2, 3, 4)).max(axis=1)
        return np.column_stack([1 - white, white])

    found = occlude(any_white_frame, views, INDICES, [np.array([0]), np.array([1])], 1, batch=4)
    assert found.probability == 0.5
    assert found.time == pytest.approx([0, 0.5 * (1 - views.mean())], abs=1e-6)
    assert sum(sizes) == 2 + 2 * GRID**2 + 2 and max(sizes) <= 4


def test_the_clip_itself_is_not_changed():
    views = clip()
    before = views.copy()
    occlude(brightness_of_the_patch, views, INDICES, SEGMENTS, 1, batch=8)
    assert (views == before).all()
