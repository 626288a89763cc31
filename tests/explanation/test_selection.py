"""Which clips are shown, in which order, and which training clips are nearest."""

import numpy as np

from pipeline.evaluation.predictions import surest_mistakes
from pipeline.explanation.selection import MISTAKES_PER_CELL, RIGHT_PER_CELL, clips_by_cell, in_turns, nearest
from tests.explanation.clips import predictions


def test_mistakes_come_first_the_surest_first_and_right_ones_the_least_sure_first():
    rows = [(0, 0.9), (0, 0.6), (1, 0.7), (1, 0.8), (0, 0.3), (1, 0.1)]  # label, probability of class 0
    test = predictions([label for label, _ in rows], [[p, 1 - p] for _, p in rows])
    cells = clips_by_cell(test)
    assert list(cells) == [(1, 0), (0, 1), (0, 0), (1, 1)], "the largest cell of mistakes first"
    assert cells == {(1, 0): [3, 2], (0, 1): [4], (0, 0): [1, 0], (1, 1): [5]}
    assert list(in_turns(cells)) == [3, 4, 1, 5, 2, 0]
    assert surest_mistakes(test).tolist() == [3, 2, 4]


def test_a_cell_has_a_limited_number_of_clips_and_ties_are_in_the_order_of_names():
    count = 20
    clips = [f"c{count - number:02d}" for number in range(count)]
    test = predictions([0] * count * 2, [[0.2, 0.8]] * count + [[0.8, 0.2]] * count, clips + [f"d{clip}" for clip in clips])
    cells = clips_by_cell(test)
    assert [test.clips[row] for row in cells[0, 1]] == [f"c{number:02d}" for number in range(1, MISTAKES_PER_CELL + 1)]
    assert [test.clips[row] for row in cells[0, 0]] == [f"dc{number:02d}" for number in range(1, RIGHT_PER_CELL + 1)]
    assert [test.clips[row] for row in surest_mistakes(test)] == sorted(clips)


def test_nearest_are_those_of_the_smallest_angle_whatever_their_length():
    train = np.array([[10, 0], [0, 0.1], [3, 3], [0, 0]], np.float32)
    rows, cosines = nearest(np.array([[1, 0], [0.1, 2]], np.float32), train, 2)
    assert rows.tolist() == [[0, 2], [1, 2]]
    np.testing.assert_allclose(cosines[0], [1, np.sqrt(0.5)], rtol=1e-6)
    rows, _ = nearest(np.ones((1, 2)), np.ones((3, 2)), 5)
    assert rows.tolist() == [[0, 1, 2]], "no more than there are"
