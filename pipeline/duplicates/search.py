"""Finds clips that show the same: byte-identical, re-encoded, resized, mirrored or trimmed copies.

Clips of one static scene look alike, so looks only choose the candidates; what decides is motion: copies move alike at every
moment and in every place of the frame, two moments of a scene do not. Three steps, each for fewer pairs than the one before:

1. Looks: mean frames of the quarters of each clip, brightness and contrast removed, are compared by matrix products.
2. Motion at RATE / STEP, at every offset in time: the correlation of the differences between frames 0.2 s apart.
3. The same at RATE, which decides.

Invariants: the result does not depend on the order of the clips. Clips without motion (still images, a black screen) or of less
than about 1.3 s are only found if their bytes are identical.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pipeline.console import progress
from pipeline.duplicates.fingerprints import RATE, SIDE, UNIT, Fingerprint

__all__ = ["DuplicateSet", "Kind", "Pair", "find_duplicates"]

# Thresholds: see docs/duplicates.md for the real clips on which they were chosen.
ALIKE = 0.93  # cosine of mean frames above which clips are compared further; copies have 0.96 and more
COARSE = 0.6  # correlation of motion in step 2 above which step 3 follows
SAME = 0.9  # correlation of motion in step 3 of clips of which one contains the other...
PARTIAL = 0.2  # ...and how much more is needed per share of the shorter clip that the other does not show
OVERLAP = 0.5  # of the shorter clip, at least
MOMENTS = RATE  # frames of motion that must overlap, at least
STILL = 0.25  # root mean square of the motion, in grey levels; less is the noise of encoders
TRIMMED = 0.3  # seconds by which the longer clip exceeds the overlap if one is called trimmed
LAG = RATE // 5  # frames between which motion is measured, after a moving average of as many
STEP = 4
QUARTERS = 4
_ROWS = 64  # clips that are compared with all others at once: 40 MB for 10,000 clips
_CELLS = 4_000_000  # of correlations at once: bounds the memory of a step to about 100 MB

# re-encoded includes resized. A mirrored or trimmed copy may be re-encoded too.
Kind = Literal["identical", "re-encoded", "trimmed", "mirrored", "mirrored and trimmed"]


class Pair(NamedTuple):
    """Two clips that show the same.

    Attributes:
      first, second: their names, first < second.
      score: how well their motion agrees where they overlap, a correlation up to 1; 1 for identical files.
    """

    first: str
    second: str
    kind: Kind
    score: float


class DuplicateSet(NamedTuple):
    """Clips that show the same, directly or by way of others: members sorted by name, pairs sorted."""

    members: tuple[str, ...]
    pairs: tuple[Pair, ...]


class _Match(NamedTuple):
    """At the best offset, arrays (others,): correlation, rows of overlap, correlation beyond the need."""

    score: np.ndarray
    overlap: np.ndarray
    margin: np.ndarray


def find_duplicates(fingerprints: Mapping[str, Fingerprint]) -> list[DuplicateSet]:
    """The sets of clips that show the same, sorted; each clip is in one set at most. fingerprints: by name of the clip."""
    copies: dict[str, list[str]] = defaultdict(list)
    for name in sorted(fingerprints):
        copies[fingerprints[name].sha256].append(name)
    pairs = [Pair(first, other, "identical", 1.0) for first, *others in copies.values() for other in others]
    names = [members[0] for members in copies.values()]
    pairs += _similar(names, [fingerprints[name].frames for name in names])
    return _sets(pairs)


def _sets(pairs: Sequence[Pair]) -> list[DuplicateSet]:
    """Joins pairs that share a clip, transitively."""
    joined: dict[str, list[Pair]] = {}
    for pair in pairs:
        found = {id(one): one for one in (joined.get(pair.first, []), joined.get(pair.second, []))}
        merged = [pair, *(old for one in found.values() for old in one)]
        for old in merged:
            joined[old.first] = joined[old.second] = merged
    unique = {id(members): members for members in joined.values()}.values()
    return sorted(DuplicateSet(tuple(sorted({n for p in one for n in p[:2]})), tuple(sorted(one))) for one in unique)


def _similar(names: Sequence[str], frames: Sequence[np.ndarray]) -> Iterator[Pair]:
    """Pairs of clips with the same motion; names are sorted, frames as in `Fingerprint`."""
    moving = [index for index, one in enumerate(frames) if _moves(_motion(one))]
    names, frames = [names[index] for index in moving], [frames[index] for index in moving]
    coarse = [_thinned(_motion(one)) for one in frames]
    with progress(total=len(names), describe="comparing", unit="clip", leave=False) as bar:
        for index, others, mirrored in _alike(frames):
            motion = _mirrored(coarse[index]) if mirrored else coarse[index]
            near = [others[k] for k in np.flatnonzero(_match(motion, [coarse[k] for k in others], STEP, COARSE).margin > 0)]
            bar.update(index + 1 - bar.n)
            if near:
                motion = _motion(frames[index])
                motion = _mirrored(motion) if mirrored else motion
                match = _match(motion, [_motion(frames[k]) for k in near], 1, SAME)
                for k in np.flatnonzero(match.margin >= 0):
                    longest = max(len(frames[index]), len(frames[near[k]])) - 2 * LAG + 1
                    trimmed = longest - match.overlap[k] > TRIMMED * RATE
                    yield Pair(names[index], names[near[k]], _kind(mirrored, trimmed), round(float(match.score[k]), 4))


def _kind(mirrored: bool, trimmed: bool) -> Kind:
    if mirrored:
        return "mirrored and trimmed" if trimmed else "mirrored"
    return "trimmed" if trimmed else "re-encoded"


def _motion(frames: np.ndarray) -> np.ndarray:
    """float32 (T - 2 LAG + 1, SIDE * SIDE): differences over LAG frames of the moving average, without changes of brightness."""
    grey = frames.reshape(len(frames), -1).astype(np.float64) / UNIT
    sums = np.concatenate([np.zeros((1, grey.shape[1])), np.cumsum(grey, axis=0)])
    mean = (sums[LAG:] - sums[:-LAG]) / LAG
    motion = (mean[LAG:] - mean[:-LAG]).astype(np.float32)
    return motion - motion.mean(axis=1, keepdims=True)


def _moves(motion: np.ndarray) -> bool:
    return len(motion) >= MOMENTS and float(np.square(motion).mean()) >= STILL**2


def _thinned(motion: np.ndarray) -> np.ndarray:
    """Means of STEP frames each."""
    whole = len(motion) // STEP * STEP
    return motion[:whole].reshape(-1, STEP, motion.shape[1]).mean(axis=1)


def _mirrored(motion: np.ndarray) -> np.ndarray:
    return motion.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(motion), -1)


def _looks(frames: np.ndarray) -> np.ndarray:
    """float32 (QUARTERS, SIDE, SIDE): unit vectors, the mean frames of the quarters of a clip without their mean."""
    means = np.stack([part.mean(axis=0) for part in np.array_split(frames.astype(np.float32) / UNIT, QUARTERS)])
    means -= means.mean(axis=(1, 2), keepdims=True)
    return means / np.maximum(np.linalg.norm(means, axis=(1, 2), keepdims=True), 1e-6)


def _alike(frames: Sequence[np.ndarray]) -> Iterator[tuple[int, list[int], bool]]:
    """(clip, later clips that look like it, or like its mirror image if the last is true), in the order of the clips."""
    if not frames:
        return
    looks = np.stack([_looks(one) for one in frames])
    flat = looks.reshape(len(looks) * QUARTERS, -1)
    for start in range(0, len(frames), _ROWS):
        rows = looks[start : start + _ROWS]
        later = flat[start * QUARTERS :].T
        best = []
        for side in (rows, rows[:, :, :, ::-1]):
            cosines = side.reshape(len(rows) * QUARTERS, -1) @ later
            best.append(cosines.reshape(len(rows), QUARTERS, -1, QUARTERS).max(axis=(1, 3)))
        for row in range(len(rows)):
            for mirrored, cosine in enumerate(best):
                others = [start + k for k in np.flatnonzero(cosine[row] >= ALIKE) if k > row]
                if others:
                    yield start + row, others, bool(mirrored)


def _match(one: np.ndarray, others: Sequence[np.ndarray], step: int, need: float) -> _Match:
    """Compares the motion of a clip (T, D) with that of others, at every offset.

    step: frames between rows of motion. need: the correlation that is needed if one clip contains the other. The offset with
    the largest margin counts. A margin is -1 if the overlap is too short or still at every offset.
    """
    size = max(map(len, others))
    chunk = max(1, _CELLS // (len(one) * (len(one) + size)))
    parts = [_match_some(one, others[k : k + chunk], step, need) for k in range(0, len(others), chunk)]
    return _Match(*map(np.concatenate, zip(*parts, strict=True)))


def _match_some(one: np.ndarray, others: Sequence[np.ndarray], step: int, need: float) -> _Match:
    count, length = len(others), len(one)
    lengths = np.array([len(other) for other in others])
    size = int(lengths.max())
    padded = np.zeros((count, size, one.shape[1]), np.float32)
    for row, other in zip(padded, others, strict=True):
        row[: len(other)] = other
    # Row r of `shifted` is row length-1-r of the products, moved right by r: a column sums the products of one offset.
    products = (padded.reshape(count * size, -1) @ one.T).reshape(count, size, length)
    width = length + size
    shifted = np.zeros((count, length, width + 1), np.float32)
    shifted[:, :, :size] = products.transpose(0, 2, 1)[:, ::-1]
    agreement = shifted.reshape(count, -1)[:, : length * width].reshape(count, length, width).sum(axis=1)

    offsets = np.arange(width) - (length - 1)  # row k of `one` is next to row k + offset of the other
    first = np.maximum(0, -offsets)[None]
    last = np.maximum(np.minimum(length, lengths[:, None] - offsets), first)
    overlap = last - first
    sums, other_sums = _sums(one[None])[0], _sums(padded)
    energy = sums[last] - sums[first]
    starts, ends = (np.clip(rows + offsets, 0, size) for rows in (first, last))
    other_energy = np.take_along_axis(other_sums, ends, 1) - np.take_along_axis(other_sums, starts, 1)
    floor = STILL**2 * one.shape[1] * overlap
    score = agreement / np.sqrt(np.maximum(energy * other_energy, 1e-12))
    shorter = np.minimum(length, lengths)[:, None]
    valid = (overlap >= np.maximum(OVERLAP * shorter, MOMENTS // step)) & (energy >= floor) & (other_energy >= floor)
    margin = np.where(valid, score - need - PARTIAL * (1 - overlap / shorter), -1)
    best = margin.argmax(axis=1)[:, None]
    return _Match(*(np.take_along_axis(values, best, 1)[:, 0] for values in (score, overlap, margin)))


def _sums(motion: np.ndarray) -> np.ndarray:
    """float64 (clips, T + 1): sums of squares of the first 0, 1, ... T rows of motion (clips, T, D)."""
    squares = np.einsum("ctd,ctd->ct", motion, motion)
    return np.concatenate([np.zeros((len(motion), 1)), np.cumsum(squares, axis=1, dtype=np.float64)], axis=1)
