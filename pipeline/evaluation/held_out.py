"""How often clips of classes that a classifier was not trained on are refused: leave one class out, on cached features.

To train the network again without a class would take as long as a training. Instead a multinomial logistic regression is fitted
to the features of the frozen backbone, without one class at a time; its temperature and its threshold are chosen on the
validation clips of the other classes, as those of the classifier are. So the figures are of that regression, not of the
classifier itself: they say how well the features tell known from unknown classes.
"""

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.artifacts import HeldOutClass, HeldOutClasses
from pipeline.console import progress
from pipeline.evaluation.decision import Answers, choose_threshold, find_answers, fit_temperature, mean_probabilities
from pipeline.settings import Unknown

MAX_CLASSES = 20  # that are held out, evenly spaced in the order of names
MAX_CLIPS = 50  # of a class in training, the first ones: with a hundred classes a regression then takes seconds
MAX_ITERATIONS = 300
SMALL = 10**8  # multiplications: below, threads cost more than they save (on two cores 2.8 s of processor time instead of 0.3)
METHOD = "a logistic regression on the features of the frozen backbone (standardised, the mean over the views of a clip)"


class ClipFeatures(NamedTuple):
    """A split: features float32 (n, P), labels int (n,), groups str (n,)."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def where(self, chosen: np.ndarray) -> "ClipFeatures":
        return ClipFeatures(*(values[chosen] for values in self))


def hold_out_classes(
    train: ClipFeatures,
    validation: ClipFeatures,
    test: ClipFeatures,
    classes: list[str],
    unknown: Unknown,
    background: int | None = None,
) -> HeldOutClasses:
    """Holds out each class, at most MAX_CLASSES, but never the background class, which stays among the others.

    Args:
      classes: names, in label order. unknown: what the thresholds are chosen for. background: label of the background class.
    """
    train = train.where(_first_of_each_class(train.labels, MAX_CLIPS))
    tested = [label for label in np.unique(test.labels).tolist() if label != background]
    known = [label for label in np.unique(train.labels).tolist() if label != background]
    if len(known) < 3 or len(tested) < 2 or len(np.intersect1d(validation.labels, train.labels)) < 2:
        reason = "at least three classes with training clips, two of them also with other clips, are needed to hold out one"
        return HeldOutClasses(reason=reason)
    chosen = tested
    if len(tested) > MAX_CLASSES:
        chosen = [tested[round(position)] for position in np.linspace(0, len(tested) - 1, MAX_CLASSES)]
    with threadpool_limits(1 if train.features.size * len(classes) < SMALL else None):
        rows = [
            _hold_out(label, classes[label], train, validation, test, unknown, background)
            for label in progress(chosen, describe="holding out classes", unit="class")
        ]
    return HeldOutClasses(method=METHOD, of=len(tested), classes=rows)


def _first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` clips of each label, in order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]))


def _hold_out(
    held: int,
    name: str,
    train: ClipFeatures,
    validation: ClipFeatures,
    test: ClipFeatures,
    unknown: Unknown,
    background: int | None,
) -> HeldOutClass:
    from sklearn.linear_model import LogisticRegression  # here, because these results are remembered: see `remembered`
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, validation = (split.where(split.labels != held) for split in (train, validation))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS)).fit(train.features, train.labels)
    labels = model.classes_
    column = None if background is None else {label: index for index, label in enumerate(labels)}.get(background)

    def logits(split: ClipFeatures) -> np.ndarray:
        """(n, 1 view, classes)."""
        values = model.decision_function(split.features)
        return (np.column_stack([np.zeros(len(values)), values]) if values.ndim == 1 else values)[:, None]

    def answers(split: ClipFeatures, temperature: float) -> Answers:
        found = find_answers(mean_probabilities(logits(split), temperature), column)
        return found._replace(labels=labels[found.labels])

    # A clip of a class without training clips has no probability of its own, so the temperature cannot be fitted to it.
    fitted = validation.where(np.isin(validation.labels, labels))
    temperature = fit_temperature(logits(fitted), np.searchsorted(labels, fitted.labels))
    threshold = choose_threshold(answers(validation, temperature), validation.labels, unknown, background)
    of_test = answers(test, temperature)
    given, is_held = of_test.scores >= threshold.value, test.labels == held
    known = ~is_held if background is None else ~is_held & (test.labels != background)
    right = known & (of_test.labels == test.labels)
    compared = is_held | known
    return HeldOutClass(
        class_name=name,
        clips=int(is_held.sum()),
        groups=len(np.unique(test.groups[is_held])),
        refused=int((is_held & ~given).sum()),
        coverage=float(given[known].mean()),
        accuracy=float(right[given & ~is_held].mean()) if (given & ~is_held).any() else 0.0,
        auroc=float(roc_auc_score(known[compared], of_test.scores[compared])),
        threshold=threshold.value,
    )
