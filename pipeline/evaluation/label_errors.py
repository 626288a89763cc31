"""Clips whose label may be wrong: confident learning (Northcutt, Jiang & Chuang 2021) on cached features, by cleanlab.

A multinomial logistic regression gives each clip of every split its probabilities. It was not fitted to any clip of the same
group: a group's clips resemble each other and may be mislabelled together. cleanlab then compares, for each pair of classes, how
many clips are confidently in one and labelled as the other, and names these.

The penalty is much larger than a classifier's: with one chosen by log loss the regression learns the wrong labels, too, and of
the clips named fewer are wrong (docs/label_errors.md).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from pipeline.artifacts import ClassifierDescription, LabelErrors, is_cached
from pipeline.console import progress
from pipeline.evaluation.classifier import clip_features
from pipeline.evaluation.held_out import SMALL
from pipeline.evaluation.remembered import remember
from pipeline.evaluation.suspects import COLUMNS
from pipeline.sources.manifest import SPLITS, read_manifest

FOLDS = 5
PENALTY = 0.0015  # a feature: with P standardised features the mean loss has 0.0015 * P / 2 * |W|^2 added
MIN_ACCURACY = 0.8  # mean over the classes: below, most clips named would have the right label
MIN_GROUPS = 2  # of a class: one to judge, one to learn from
MAX_CLIPS = 100  # of a class in a fit, evenly spaced: with a hundred classes a fit then takes seconds
_SMALLEST_DEVIATION = 1e-6  # of a feature that hardly varies, so that it is not blown up


class Judgement(NamedTuple):
    """What confident learning says of n clips.

    Attributes:
      judged: bool (n,), False for clips of classes with too few groups.
      probabilities: float64 (n, classes), by a model that did not see the clip's group; 0 for clips that are not judged.
      quality: float64 (n,), of the label: half of 1 + the probability of the class given - the largest of another. NaN for
        clips that are not judged.
      suspect: bool (n,).
      accuracy: share of the judged clips whose most probable class is the one given, mean over the classes; None if no clip is
        judged.
    """

    judged: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    suspect: np.ndarray
    accuracy: float | None


class KeptJudgement(NamedTuple):
    """What is kept of a judgement of n clips: of each clip two probabilities, as those of all classes would take gigabytes.

    Attributes:
      judged, quality, suspect, accuracy: see Judgement.
      suggested: int (n,), the most probable class. p_given, p_suggested: float64 (n,), of the class given and of that one.
    """

    judged: np.ndarray
    suggested: np.ndarray
    p_given: np.ndarray
    p_suggested: np.ndarray
    quality: np.ndarray
    suspect: np.ndarray
    accuracy: float | None

    @classmethod
    def of(cls, judgement: Judgement, labels: np.ndarray) -> "KeptJudgement":
        probabilities, every = judgement.probabilities, np.arange(len(labels))
        suggested = probabilities.argmax(1)
        chosen = suggested, probabilities[every, labels], probabilities[every, suggested]
        return cls(judgement.judged, *chosen, judgement.quality, judgement.suspect, judgement.accuracy)

    def to_lists(self) -> list:
        """For JSON, which keeps every digit."""
        return [value.tolist() if isinstance(value, np.ndarray) else value for value in self]

    @classmethod
    def from_lists(cls, values: list) -> "KeptJudgement":
        kinds = (bool, int, float, float, float, bool)
        return cls(*(np.array(value, kind) for value, kind in zip(values[:-1], kinds, strict=True)), values[-1])


def assign_folds(labels: np.ndarray, groups: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """A fold for each of n clips, int (n,): whole groups, so that the clips of every class are spread over the folds.

    A class of at least two groups lies in at least two folds, so that it can be learnt without any one of them. For this there
    may be a few folds more.
    """
    _, of_group = np.unique(groups, return_inverse=True)
    of_label = np.unique(labels, return_inverse=True)[1]
    clips = np.zeros((of_group.max() + 1, of_label.max() + 1))
    np.add.at(clips, (of_group, of_label), 1)
    shares = clips / clips.sum(0)
    loads = np.zeros((folds, clips.shape[1]))
    fold_of = np.zeros(len(clips), int)
    for group in np.argsort(-clips.sum(1), kind="stable"):
        # The fold with the least of the group's classes; of several, the one with the least of all.
        fold = min(range(folds), key=lambda fold: (round(loads[fold] @ shares[group], 9), round(loads[fold].sum(), 9)))
        fold_of[group] = fold
        loads[fold] += shares[group]
    for label in range(clips.shape[1]):
        having = np.flatnonzero(clips[:, label])
        if len(having) > 1 and len(np.unique(fold_of[having])) == 1:
            fold_of[having[np.argmin(clips[having].sum(1))]] = fold_of.max() + 1
    return fold_of[of_group]


def judge(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int) -> Judgement:
    """Judges the labels of n clips.

    Args:
      features: float (n, P). labels: int (n,). groups: str (n,). classes: number of all.
    """
    groups_of = pd.Series(groups).groupby(labels).nunique()
    known = np.sort(groups_of.index[groups_of >= MIN_GROUPS].to_numpy())
    judged = np.isin(labels, known)
    probabilities, quality = np.zeros((len(labels), classes)), np.full(len(labels), np.nan)
    suspect = np.zeros(len(labels), bool)
    if len(known) < 2:
        return Judgement(np.zeros(len(labels), bool), probabilities, quality, suspect, None)
    given = np.searchsorted(known, labels[judged])
    found = _out_of_fold(features[judged].astype(np.float64), given, groups[judged])
    right = found.argmax(1) == given
    accuracy = float(np.mean([right[given == label].mean() for label in range(len(known))]))
    probabilities[np.ix_(judged, known)] = found

    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_normalized_margin_for_each_label

    quality[judged] = get_normalized_margin_for_each_label(given, found)
    if accuracy >= MIN_ACCURACY:
        suspect[judged] = find_label_issues(given, found, n_jobs=1)
    return Judgement(judged, probabilities, quality, suspect, accuracy)


def _out_of_fold(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities float64 (n, classes) of labels 0, 1, ..., each row by a fit without the row's group."""
    from sklearn.linear_model import LogisticRegression  # here, because judgements are remembered: see `remembered`

    folds = assign_folds(labels, groups)
    probabilities = np.zeros((len(labels), labels.max() + 1))
    for fold in progress(np.unique(folds).tolist(), describe="judging labels", unit="fold"):
        held = folds == fold
        fitted = _at_most(np.flatnonzero(~held), labels, MAX_CLIPS)
        examples = features[fitted]
        mean, deviation = examples.mean(0), np.maximum(examples.std(0), _SMALLEST_DEVIATION)
        model = LogisticRegression(C=1 / (PENALTY * features.shape[1] * len(fitted)), max_iter=1000)
        with threadpool_limits(1 if examples.size * probabilities.shape[1] < SMALL else None):
            model.fit((examples - mean) / deviation, labels[fitted])
            probabilities[held] = model.predict_proba((features[held] - mean) / deviation)
    return probabilities


def _at_most(rows: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Of `rows` at most `most` of each label, evenly spaced, in order."""
    kept = []
    for label in np.unique(labels[rows]):
        own = rows[labels[rows] == label]
        kept.append(own if len(own) <= most else own[np.linspace(0, len(own) - 1, most).round().astype(int)])
    return np.sort(np.concatenate(kept))


def find_label_errors(embeddings: Path, classifier: Path, manifest: Path) -> tuple[LabelErrors, pd.DataFrame]:
    """Judges the labels of all clips that embed cached.

    Returns:
      - What was judged.
      - The clips whose label may be wrong, the lowest quality first, with the columns COLUMNS.
    """
    nothing = pd.DataFrame(columns=COLUMNS)
    if not is_cached(embeddings):
        reason = "the backbone was trained, so that there are no cached features: see finetune=probe"
        return LabelErrors(reason=reason), nothing
    description = ClassifierDescription.of(classifier)
    rows = pd.concat(
        pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False).assign(split=split) for split in SPLITS
    )
    splits = [clip_features(embeddings, split, description) for split in SPLITS]
    order = np.argsort(rows["clip"].to_numpy())  # so that which split a clip is in makes no difference
    features, labels, groups = (np.concatenate(values)[order] for values in zip(*splits, strict=True))
    rows = rows.iloc[order].reset_index(drop=True)

    classes = len(description.classes)
    found = remember(
        "labels",
        (features, labels, groups),
        [classes],
        lambda: KeptJudgement.of(judge(features, labels, groups, classes), labels).to_lists(),
    )
    of = KeptJudgement.from_lists(found)
    judged, count = int(of.judged.sum()), int(of.suspect.sum())
    if not judged:
        reason = f"at least two classes with clips of {MIN_GROUPS} groups are needed"
        return LabelErrors(clips=len(rows), reason=reason), nothing
    reason = ""
    if of.accuracy < MIN_ACCURACY:
        reason = (
            f"without its group, a clip's class is found in only {of.accuracy:.0%} of cases (mean over the classes; at least "
            f"{MIN_ACCURACY:.0%} are needed), so that a class other than the one given says little"
        )
    names = np.array(description.classes, dtype=object)
    frame = rows.merge(read_manifest(manifest)[["clip", "file", "source"]], on="clip", how="left", validate="1:1").assign(
        given=names[labels],
        suggested=names[of.suggested],
        p_given=of.p_given,
        p_suggested=of.p_suggested,
        quality=of.quality,
    )
    suspects = frame[of.suspect].sort_values(["quality", "clip"], ignore_index=True)[COLUMNS]
    return LabelErrors(clips=len(rows), judged=judged, suspects=count, accuracy=of.accuracy, reason=reason), suspects
