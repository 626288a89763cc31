"""Which clips a report shows: the surest mistakes, the most suspect labels, and some of each cell of the confusion matrix."""

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np

from pipeline.evaluation.predictions import Predictions

STRIP_BYTES = 4_200_000  # of JPEG, 5.6 MB in base64, so that a report stays below 10 MB
MISTAKES_PER_CELL = 6
RIGHT_PER_CELL = 3
SUSPECTS = 20  # labels that may be wrong


def clips_by_cell(test: Predictions) -> dict[tuple[int, int], list[int]]:
    """The rows of `test` to show of each cell (actual, predicted) of the confusion matrix, the most telling first.

    Of mistakes these are the surest, of right predictions the least sure. Cells of mistakes come first, the largest of them
    first; cells without clips are left out.
    """
    rows: dict[tuple[int, int], list[int]] = {}
    for row, cell in enumerate(zip(test.labels.tolist(), test.predicted.tolist(), strict=True)):
        rows.setdefault(cell, []).append(row)
    sureness = test.probabilities.max(axis=1)
    chosen = {}
    for cell in sorted(rows, key=lambda cell: (cell[0] == cell[1], -len(rows[cell]), cell)):
        right = cell[0] == cell[1]
        ordered = sorted(rows[cell], key=lambda row: (sureness[row] if right else -sureness[row], test.clips[row]))
        chosen[cell] = ordered[: RIGHT_PER_CELL if right else MISTAKES_PER_CELL]
    return chosen


def in_turns(cells: dict[tuple[int, int], list[int]]) -> Iterator[int]:
    """The first row of each cell, then the second of each, so that no cell goes without because another one has many."""
    for turn in zip_longest(*cells.values()):
        yield from (row for row in turn if row is not None)


def nearest(features: np.ndarray, others: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows of `others` (m, P) that are most similar to each row of `features` (n, P), and their cosines: (n, count).

    Of equally similar ones, the first come first.
    """
    similarity = _normalised(features) @ _normalised(others).T
    chosen = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    return chosen, np.take_along_axis(similarity, chosen, axis=1)


def _normalised(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
