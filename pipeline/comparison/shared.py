"""The clips that all models have predicted, in one order, and refusal of models whose test sets do not fit together.

Invariants: classes are matched by name; each clip has one label; clips that any of the models takes for one group are one group,
so that intervals are never too narrow because one model knew less about its clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.comparison.results import ModelResults
from pipeline.console import UserError
from pipeline.evaluation.log_loss import log_losses
from pipeline.reporting.wording import count


@dataclass(frozen=True)
class SharedClips:
    """The shared clips of M models, sorted by name.

    Attributes:
      classes: names, in the order of the first model.
      clips, groups: str arrays of shape (n_clips,). labels: int array of shape (n_clips,).
      predicted: int array of shape (M, n_clips). probabilities: M arrays of shape (n_clips, n_classes).
      totals: number of clips of the split in each model. regrouped: clips whose group is not the same in all models.
    """

    split: str
    classes: list[str]
    clips: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: tuple[np.ndarray, ...]
    totals: tuple[int, ...]
    regrouped: int

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def right(self) -> np.ndarray:
        """bool array of shape (M, n_clips)."""
        return self.predicted == self.labels

    @property
    def losses(self) -> np.ndarray:
        """Log loss of each clip, float array of shape (M, n_clips)."""
        return np.array([log_losses(one, self.labels) for one in self.probabilities])


def share_clips(models: Sequence[ModelResults], split: str) -> SharedClips:
    """Aligns the predictions of a split.

    Raises:
      UserError: classes differ, a clip has two labels, or no clip is shared.
    """
    first = models[0]
    for model in models[1:]:
        _check_classes(first, model)
    parts = [model.predictions.of(split) for model in models]
    for model, part in zip(models, parts, strict=True):
        if not len(part):
            raise UserError(f"{model.label}: no {split} clips in its predictions", advice="compare another --split")
    names = set(parts[0].clips).intersection(*(part.clips for part in parts[1:]))
    if not names:
        sizes = ", ".join(f"{model.label} {len(part):,}" for model, part in zip(models, parts, strict=True))
        message = f"no {split} clip is shared by {_joined(models)} ({sizes}), so nothing can be compared"
        raise UserError(message, advice="evaluate them on the same split: data.split.fold, .scheme and seed decide it")
    clips = np.array(sorted(names))
    classes = parts[0].classes
    labels, groups, predicted, probabilities = [], [], [], []
    for part in parts:
        order = np.argsort(part.clips)
        rows = order[np.searchsorted(part.clips[order], clips)]
        columns = np.array([part.classes.index(name) for name in classes])  # of this model, by label of the first
        to_first = np.argsort(columns)
        labels.append(to_first[part.labels[rows]])
        predicted.append(to_first[part.predicted[rows]])
        probabilities.append(part.probabilities[rows][:, columns])
        groups.append(part.groups[rows])
    for model, own in zip(models[1:], labels[1:], strict=True):
        _check_labels(first, model, clips, classes, labels[0], own)
    joined, regrouped = _join_groups(groups)
    return SharedClips(
        split,
        classes,
        clips,
        joined,
        labels[0],
        np.array(predicted),
        tuple(probabilities),
        tuple(len(part) for part in parts),
        regrouped,
    )


def _joined(models: Sequence[ModelResults]) -> str:
    return " and ".join(model.label for model in models)


def _check_classes(first: ModelResults, other: ModelResults) -> None:
    own, others = set(first.predictions.classes), set(other.predictions.classes)
    if own == others:
        return
    sides = [
        f"only {model.label} has {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for model, names in ((first, sorted(own - others)), (other, sorted(others - own)))
        if names
    ]
    message = f"{first.label} and {other.label} tell apart different classes: {'; '.join(sides)}"
    raise UserError(message, advice="compare models of the same data set")


def _check_labels(
    first: ModelResults, other: ModelResults, clips: np.ndarray, classes: list[str], labels: np.ndarray, others: np.ndarray
) -> None:
    differing = np.flatnonzero(labels != others)
    if differing.size:
        clip, a, b = clips[differing[0]], classes[labels[differing[0]]], classes[others[differing[0]]]
        clip_count = f"{count(differing.size, 'shared clip')} {'has' if differing.size == 1 else 'have'}"
        message = f"{clip_count} another class in {other.label} than in {first.label}, first {clip}: {b}, not {a}"
        raise UserError(message, advice="evaluate both with the same labels")


def _join_groups(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """One group of each clip: clips that are in one group in any of the models are, and so are those they are joined by.

    Returns:
      The groups, named by the first model, and the number of clips whose group has not the same name in all models.
    """
    differing = np.zeros(len(groups[0]), bool)
    for other in groups[1:]:
        differing |= other != groups[0]
    if not differing.any():
        return groups[0], 0
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, nodes, offset = len(groups[0]), [], len(groups[0])
    for names in groups:
        found, inverse = np.unique(names, return_inverse=True)
        nodes.append(inverse + offset)
        offset += len(found)
    rows, columns = np.tile(np.arange(count), len(groups)), np.concatenate(nodes)
    edges = coo_array((np.ones(len(rows)), (rows, columns)), shape=(offset, offset))
    _, component = connected_components(edges, directed=False)
    _, where, inverse = np.unique(component[:count], return_index=True, return_inverse=True)
    return groups[0][where][inverse], int(differing.sum())
