"""Calibrates a classifier, chooses when a prediction is `unknown`, and applies that choice. In NumPy and SciPy.

Both are chosen on the validation clips, on probabilities computed as in evaluation: the mean over a clip's views. The temperature
is that of Guo et al. 2017 ("On Calibration of Modern Neural Networks"): one number by which all logits are divided.

Invariants: a prediction has a class if its score, `Answers.scores`, is at least the threshold, which is not negative; then the
class is `Answers.labels`. A tie between classes goes to the lower label, as in `metrics`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.artifacts import Decision, FramesSummary
from pipeline.console import UserError, say
from pipeline.evaluation.log_loss import log_loss
from pipeline.settings import Background, Finetune, Unknown

TEMPERATURES = (0.05, 20.0)  # the bounds of a fitted temperature
PRIOR = 0.5  # standard deviation of the logarithm of the temperature before a clip is seen: 95% lie between 0.38 and 2.7
MARGIN = 1e-4  # of a threshold below the lowest confidence that it accepts: the formats of a model differ by rounding
_TINY = 1e-9


def mean_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities float64 (clips, classes), the mean over views, of logits (clips, views, classes) divided by `temperature`."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, within TEMPERATURES, that fits the clips best: a maximum a posteriori estimate.

    It minimises the log loss of `mean_probabilities`, summed over the clips, plus (log T)^2 / (2 PRIOR^2): a normal prior of
    log T around 0. It matters for few clips, and where all clips are right, for which the log loss alone would have T go to 0.
    With many clips it vanishes.

    The targets of Platt 1999, (n + 1) / (n + 2) for the actual class of n clips, also avoid T = 0, but a softmax fitted to them
    is much too unsure: on 40 validation clips of UCF-101, all right, they more than doubled the log loss of the test clips, which
    this prior lowers (docs/unknown.md).

    Args:
      logits: float array of shape (n_clips, n_views, n_classes).
      labels: int array of shape (n_clips,), the actual classes.
    """
    from scipy.optimize import minimize_scalar  # here, because predict applies decisions and should start quickly

    def loss(log_temperature: float) -> float:
        fit = log_loss(mean_probabilities(logits, np.exp(log_temperature)), labels) * len(labels)
        return fit + log_temperature**2 / (2 * PRIOR**2)

    # With several views there may be more than one minimum: a grid finds the lowest, which is then refined.
    grid = np.linspace(*np.log(TEMPERATURES), 61)
    best = int(np.argmin([loss(value) for value in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(np.exp(minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-5}).x))


class Answers(NamedTuple):
    """The most probable class of each clip other than the background class.

    Attributes:
      labels: int (n,).
      scores: float (n,), the order in which clips are given a class: the confidence, which is the probability of that class; less
        1, and so below every threshold, where the background class is the most probable one.
    """

    labels: np.ndarray
    scores: np.ndarray

    @property
    def confidences(self) -> np.ndarray:
        return np.where(self.scores < 0, self.scores + 1, self.scores)


def find_answers(probabilities: np.ndarray, background: int | None = None) -> Answers:
    """The answers for probabilities (n, classes). background: label of the background class; None if there is none."""
    known = np.array(probabilities, np.float64)
    if background is not None:
        known[:, background] = -1.0
    labels = known.argmax(axis=1)
    scores = known[np.arange(len(known)), labels]
    if background is not None:
        scores = np.where(probabilities.argmax(axis=1) == background, scores - 1, scores)
    return Answers(labels, scores)


class Threshold(NamedTuple):
    """A threshold, and the coverage and precision that it has on the clips for which it was chosen; see `Decision`.

    reached: whether it reaches the level that was asked for.
    """

    value: float
    coverage: float
    precision: float
    reached: bool


def choose_threshold(answers: Answers, labels: np.ndarray, unknown: Unknown, background: int | None = None) -> Threshold:
    """Chooses the threshold of `finetune.unknown`.

    The choice is between the confidences of the clips. By coverage it is the largest at which at least `level` of the clips of
    known classes are given a class; by precision the smallest at which at least `level` of those that are given a class are
    right, where a background clip that is given a class counts as wrong. The threshold itself lies below the chosen confidence,
    by MARGIN or half-way to the next lower one. If none reaches the level, it is the one that comes closest, with the largest
    coverage.

    Args:
      labels: int array of shape (n_clips,), the actual classes. background: label of the background class.
    """
    known = labels != (-1 if background is None else background)
    right = known & (answers.labels == labels)
    candidates = np.unique(answers.scores[answers.scores >= 0])
    if not len(candidates):
        return Threshold(0.0, 0.0, 0.0, reached=False)
    given = answers.scores >= candidates[:, None]
    coverage = (given & known).sum(axis=1) / max(int(known.sum()), 1)
    precision = (given & right).sum(axis=1) / given.sum(axis=1)
    reached = np.flatnonzero((coverage if unknown.by == "coverage" else precision) >= unknown.level - _TINY)
    if len(reached):
        chosen = reached[-1] if unknown.by == "coverage" else reached[0]
    else:
        chosen = 0 if unknown.by == "coverage" else int(np.argmax(precision))
    below = candidates[chosen - 1] if chosen else 0.0
    value = max(candidates[chosen] - MARGIN, (candidates[chosen] + below) / 2)
    return Threshold(float(value), float(coverage[chosen]), float(precision[chosen]), bool(len(reached)))


def decide(
    logits: np.ndarray,
    labels: np.ndarray,
    unknown: Unknown,
    *,
    calibrate: bool,
    background: int | None,
    classes: list[str],
    clip_seconds: float,
) -> Decision:
    """Fits the temperature and chooses the threshold on the validation clips, and says so.

    Args:
      logits: float array of shape (n_clips, n_views, n_classes), before calibration.
      labels: int array of shape (n_clips,), the actual classes.
      calibrate: whether to fit a temperature; else it is 1.
      background: label of the background class; None if there is none.
      clip_seconds: see `Decision`.
    """
    temperature = fit_temperature(logits, labels) if calibrate else 1.0
    before, after = (log_loss(mean_probabilities(logits, value), labels) for value in (1.0, temperature))
    if calibrate:
        say(f"calibrated: temperature {temperature:.3f}, validation log loss {before:.4f} before and {after:.4f} after")
        if not TEMPERATURES[0] * 1.01 < temperature < TEMPERATURES[1] / 1.01:
            say("note: the temperature is at its bound: see the learning curves, the classifier may not have learned anything")
    threshold = choose_threshold(find_answers(mean_probabilities(logits, temperature), background), labels, unknown, background)
    share = (
        f"{threshold.coverage:.1%} of the validation clips of known classes get a class, {threshold.precision:.1%} of these right"
    )
    if not threshold.reached:
        closest = {
            "coverage": "the background class is the most probable one of too many: only those are unknown",
            "precision": "the threshold is the one of best precision",
        }
        say(f"warning: no threshold reaches finetune.unknown.level = {unknown.level:g} by {unknown.by}; {closest[unknown.by]}")
    say(f"unknown: below a confidence of {threshold.value:.4f}; {share}")
    return Decision(
        temperature=temperature,
        threshold=threshold.value,
        by=unknown.by,
        level=unknown.level,
        coverage=threshold.coverage,
        precision=threshold.precision,
        background=None if background is None else classes[background],
        clip_seconds=clip_seconds,
        uncalibrated_log_loss=before,
        log_loss=after,
    )


def decider(
    finetune: Finetune, background: Background | None, summary: FramesSummary
) -> Callable[[np.ndarray, np.ndarray], Decision]:
    """What chooses temperature and threshold from the validation clips' logits (clips, views, classes) and labels (clips,).

    background: `data.background`. summary: of the frames that the classifier is trained on.

    Raises:
      UserError: there are no validation clips.
    """
    validation = summary.splits["validation"]
    if validation.frames_per_clip is None:
        raise UserError("the validation split has no clips", advice="check data.split and `skipped` of data/frames/frames.json")
    label = None
    if background is not None and background.label in summary.classes:
        label = summary.classes.index(background.label)
    return lambda logits, labels: decide(
        logits,
        labels,
        finetune.unknown,
        calibrate=finetune.calibrate,
        background=label,
        classes=summary.classes,
        clip_seconds=validation.frames_per_clip.median / summary.fps,
    )
