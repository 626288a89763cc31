"""Numbers and findings of a comparison in words, for the page, the Markdown file and the terminal alike."""

import numpy as np

from pipeline.comparison.compare import Comparison, Pair, Score
from pipeline.comparison.results import ModelResults
from pipeline.evaluation.bootstrap import Difference
from pipeline.reporting.wording import FEW_GROUPS, count, percent

MINUS = "−"
VERDICTS = {
    "better": "better",
    "worse": "worse",
    "undecided": "undecided",
    "alike": "the same clips right",
}


def signed(value: float, digits: int) -> str:
    """`+1.5`, `−1.5`, and `0.0` without a sign."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def points(value: float) -> str:
    """A difference of shares in percentage points."""
    return signed(100 * value, 1)


def show_accuracy(score: Score) -> str:
    return f"{percent(score.value)}{_ends(score, percent)}"


def show_log_loss(score: Score) -> str:
    return f"{score.value:.3f}{_ends(score, lambda value: f'{value:.3f}')}"


def show_points(difference: Difference) -> str:
    return f"{points(difference.value)}{_ends(difference, points)}"


def show_log_loss_difference(difference: Difference) -> str:
    return f"{signed(difference.value, 3)}{_ends(difference, lambda value: signed(value, 3))}"


def show_p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _ends(of: Score | Difference, show) -> str:
    return "" if of.low is None else f" ({show(of.low)} to {show(of.high)})"


def level(comparison: Comparison) -> str:
    return f"{100 * comparison.resampling.confidence:g}%"


def pair_name(comparison: Comparison, pair: Pair) -> str:
    return f"{comparison.models[pair.second].label} {MINUS} {comparison.models[pair.first].label}"


def describe_pair(comparison: Comparison, pair: Pair) -> str:
    """Whether the second model is better than the first, and how sure that is."""
    first, second = (comparison.models[number].label for number in (pair.first, pair.second))
    if pair.verdict == "alike":
        return f"{second} and {first} have the same clips right, so their accuracies do not differ."
    size = f"{points(pair.accuracy.value)} points of accuracy"
    if pair.accuracy.low is None:
        return (
            f"{second} against {first} is undecided: {size}, all on clips of one group, so how much of it is chance is unknown."
        )
    between = f"{level(comparison)} interval {points(pair.accuracy.low)} to {points(pair.accuracy.high)}"
    p_value = f"p {show_p(pair.by_group_holm)}" if pair.by_group_holm < 0.0001 else f"p = {show_p(pair.by_group_holm)}"
    if pair.verdict != "undecided":
        return f"{second} is {pair.verdict} than {first}: {size} ({between}; {p_value})."
    if pair.accuracy.low <= 0 <= pair.accuracy.high:
        reason = f"the {between} includes 0"
    else:
        reason = f"the {between} excludes 0, but too few groups differ to rule out chance ({p_value})"
    return f"{second} against {first} is undecided: {size}; {reason}."


def describe_shared(comparison: Comparison) -> str:
    """How many clips are compared, and what each model has beside them."""
    shared, models = comparison.shared, comparison.models
    groups = len(np.unique(shared.groups))
    compared = (
        f"{count(len(shared), f'{shared.split} clip')} of {count(groups, 'group')} in {count(len(shared.classes), 'class')}"
    )
    others = [
        f"{model.label} {total - len(shared):,}"
        for model, total in zip(models, shared.totals, strict=True)
        if total > len(shared)
    ]
    if not others:
        return f"Compared on {compared}: all that each model was evaluated on."
    return f"Compared on the {compared} that all models share. Left out, as not all have them: {', '.join(others)}."


def caveats(comparison: Comparison) -> list[str]:
    """What makes the comparison less certain than its intervals say."""
    shared, models = comparison.shared, comparison.models
    groups = len(np.unique(shared.groups))
    sentences = []
    if shared.split == "validation":
        sentences.append("Training chose epochs, penalties and temperatures on these validation clips, so scores are too good.")
    if 1 < groups < FEW_GROUPS:
        sentences.append(f"With {count(groups, 'group')} the intervals are probably too narrow; {FEW_GROUPS} or more are better.")
    if groups == len(shared) and groups > 1:
        sentences.append("Every clip is its own group here: if several show one person or scene, the intervals are too narrow.")
    faultless = [model.label for model, scores in zip(models, comparison.scores, strict=True) if scores.accuracy.value == 1]
    if faultless and groups > 1:
        sentences.append(f"{' and '.join(faultless)}: no clip wrong, so the interval has no width; that is not certainty.")
    if shared.regrouped:
        sentences.append(
            f"The models name the groups of {count(shared.regrouped, 'clip')} differently; clips that are one group for any of "
            "them count as one."
        )
    for model in models:
        sentences += _seen_groups(model, comparison)
    for model in models[1:]:
        sentences += _other_content(models[0], model, comparison)
    return sentences


def _seen_groups(model: ModelResults, comparison: Comparison) -> list[str]:
    if model.contents is None:
        return []
    tested = model.predictions.of(comparison.shared.split)
    own = set(tested.groups[np.isin(tested.clips, comparison.shared.clips)])
    seen = own & set(model.contents.loc[model.contents["split"] == "train", "group"])
    if not seen:
        return []
    return [
        f"{model.label} was trained on clips of {len(seen):,} of the {count(len(own), 'group')} compared here, which makes its "
        "scores too good."
    ]


def _other_content(first: ModelResults, other: ModelResults, comparison: Comparison) -> list[str]:
    if first.contents is None or other.contents is None:
        return []
    columns = ["sha256", "start", "end"]
    a, b = (model.contents.set_index("clip")[columns].reindex(comparison.shared.clips) for model in (first, other))
    differing = int((a != b).any(axis=1).sum())
    if not differing:
        return []
    return [f"{count(differing, 'clip')} of {first.label} and {other.label} have the same name, but are not the same file."]
