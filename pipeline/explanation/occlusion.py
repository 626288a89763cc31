"""Where a prediction comes from: how much less probable a class becomes when a part of the clip is covered.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks": a patch of the clip's mean colour, here over each
cell of a grid in all frames, or over the whole frames of each segment of time. No gradients, so any network will do. A covered
clip is unlike those of training; what is found is where the prediction is sensitive, not why.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.artifacts import Occlusion

GRID = 4  # cells along each side


class _Cover(NamedTuple):
    """What is covered of a view: `frames` bool (T,), rows and columns of pixels."""

    frames: np.ndarray
    rows: slice
    columns: slice


def occlude(
    probabilities: Callable[[np.ndarray], np.ndarray],
    views: np.ndarray,
    indices: np.ndarray,
    segments: Sequence[np.ndarray],
    label: int,
    batch: int,
) -> Occlusion:
    """Covers a clip part by part.

    Args:
      probabilities: views float32 (N, T, S, S, 3) in [0, 1] -> (N, C).
      views: float32 (V, T, S, S, 3) in [0, 1], whose mean probabilities are the clip's.
      indices: int (V, T), the clip's frames that the views consist of.
      segments: the frames of each segment of time.
      label: the class in question.
      batch: views that are computed at a time.
    """
    colour = views.mean(axis=(0, 1, 2, 3))
    covers = _grid_covers(views.shape[1], views.shape[2])
    # A segment of time may lie outside a view, which then does not change.
    work = [(number, view, cover) for number, cover in enumerate(covers) for view in range(len(views))]
    for number, segment in enumerate(segments, start=len(covers)):
        inside = np.isin(indices, segment)
        whole = slice(None)
        work += [(number, view, _Cover(inside[view], whole, whole)) for view in np.flatnonzero(inside.any(axis=1))]
    uncovered = np.asarray(probabilities(views))[:, label]
    each = np.tile(uncovered, (len(covers) + len(segments), 1))
    for first in range(0, len(work), batch):
        part = work[first : first + batch]
        found = np.asarray(probabilities(np.stack([_covered(views[view], cover, colour) for _, view, cover in part])))
        for (number, view, _), value in zip(part, found[:, label], strict=True):
            each[number, view] = value
    drops = uncovered.mean() - each.mean(axis=1)
    space = drops[: len(covers)].reshape(GRID, GRID)
    return Occlusion(probability=float(uncovered.mean()), space=space.tolist(), time=drops[len(covers) :].tolist())


def _grid_covers(count: int, size: int) -> list[_Cover]:
    edges = np.linspace(0, size, GRID + 1).round().astype(int)
    parts = [slice(*ends) for ends in itertools.pairwise(edges)]
    return [_Cover(np.ones(count, bool), rows, columns) for rows in parts for columns in parts]


def _covered(view: np.ndarray, cover: _Cover, colour: np.ndarray) -> np.ndarray:
    changed = view.copy()
    part = changed[cover.frames]
    part[:, cover.rows, cover.columns] = colour
    changed[cover.frames] = part
    return changed
