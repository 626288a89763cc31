"""Numbers and findings as the report words them."""

from typing import Any

from pipeline.artifacts import Baselines, Gain, Scores
from pipeline.console import without_credentials
from pipeline.reporting.inputs import Leaks

# Below about this many clusters the intervals of a bootstrap are too narrow (Cameron, Gelbach & Miller 2008).
FEW_GROUPS = 30


def percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.1%}"


def interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{percent(low)} – {percent(high)}"


def points(value: float, low: float | None, high: float | None) -> str:
    """A difference of shares with its interval: `+4.5 points (1.0 to 8.0)`."""
    return f"{100 * value:+.1f} points" + ("" if low is None else f" ({100 * low:+.1f} to {100 * high:+.1f})")


def count(value: int, noun: str) -> str:
    """`1 clip`, `1,234 clips`, `2 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{value:,} {noun if value == 1 else plural}"


def remove_credentials(value: Any) -> Any:
    """Parameters without the credentials that addresses among them may hold."""
    if isinstance(value, dict):
        return {key: remove_credentials(item) for key, item in value.items()}
    return without_credentials(value) if isinstance(value, str) else value


def describe_certainty(test: Scores, confidence: float, resamples: int) -> list[str]:
    """How certain the test top-1 is, in sentences: the interval, and what it leaves out."""
    level, groups = f"{100 * confidence:g}%", test.groups
    if test.top1_low is None:
        sentences = ["All test clips come from one group, so how the score varies between groups is unknown: it has no interval."]
    elif test.top1 == 1:
        bound = 1 - (1 - confidence) ** (1 / groups)
        sentences = [
            "No test clip was misclassified, so the bootstrap interval has no width; that is not certainty. "
            f"With {count(groups, 'group')} all right, up to {percent(bound)} of new groups could still hold mistakes "
            f"(at {level} confidence)."
        ]
    else:
        sentences = [
            f"With {level} confidence the accuracy on new videos of the same kind lies between {percent(test.top1_low)} and "
            f"{percent(test.top1_high)}: the percentile interval of {resamples:,} resamples of the {groups:,} test groups. "
            "Clips of one group are correlated, so groups are resampled, not clips."
        ]
    if test.top1_low is not None:
        sentences.append("The interval covers the choice of test videos. It does not cover training again with another seed.")
    if groups == test.clips and test.clips > 1:
        sentences.append("Every clip is its own group here: if several show one person or scene, the interval is too narrow.")
    if 1 < groups < FEW_GROUPS:
        sentences.append(f"With {count(groups, 'group')} the interval is probably too narrow; {FEW_GROUPS} or more are better.")
    return sentences


def describe_gain(gain: Gain, confidence: float) -> str:
    """What training a network gained over its starting probe, the rest of `The classifier's top-1 is ...`."""

    def difference(value: float, low: float | None, high: float | None, scale: float, digits: int, unit: str) -> str:
        direction = "the same" if value == 0 else f"{abs(scale * value):.{digits}f}{unit} {'higher' if value > 0 else 'lower'}"
        if low is None:
            return direction
        return f"{direction} ({scale * low:+.{digits}f} to {scale * high:+.{digits}f})"

    sentence = (
        f"{difference(gain.top1, gain.top1_low, gain.top1_high, 100, 1, ' points')}, "
        f"its log loss {difference(gain.log_loss, gain.log_loss_low, gain.log_loss_high, 1, 3, '')}"
    )
    if gain.top1_low is None:
        return f"{sentence}; with a single test group there are no intervals."
    better = gain.top1_low > 0 or gain.log_loss_high < 0
    worse = gain.top1_high < 0 or gain.log_loss_low > 0
    level = f"paired {100 * confidence:g}% intervals of the test groups"
    if better and worse:
        verdict = "one of the two is better and the other worse than chance explains"
    elif better or worse:
        verdict = f"so training the backbone has made it {'better' if better else 'worse'}"
    else:
        verdict = "so the test clips show no difference"
    return f"{sentence}, {level}, {verdict}."


def describe_baselines(found: Baselines | None, frames: int) -> list[str]:
    """What the classifier owes to motion and to the order of frames, in sentences; frames: of a view."""
    if found is None or found.one_view is None:
        return []
    view, still, shuffled = found.one_view, found.one_frame, found.shuffled
    sentences = [
        f"With one frame repeated the classifier {'still ' if still.top1 > found.largest_class.top1 else ''}gets "
        f"{percent(still.top1)} of {count(found.clips, 'clip')} right, against {percent(view.top1)} with "
        f"{'the frame' if frames == 1 else f'all {frames} frames'}, a difference of "
        f"{points(still.gain, still.gain_low, still.gain_high)}: {_what_motion_is_worth(found)}."
    ]
    difference = points(shuffled.gain, shuffled.gain_low, shuffled.gain_high)
    rest = f"With the frames in a random order it gets {percent(shuffled.top1)} right, a difference of {difference}"
    if shuffled.gain_low is None:
        sentences.append(f"{rest}.")
    elif shuffled.gain_low > 0:
        sentences.append(f"{rest}, so their order matters.")
    elif shuffled.gain_low == shuffled.gain_high == 0:
        sentences.append(f"{rest}: on these clips it does not need their order.")
    else:
        sentences.append(f"{rest}: these clips do not show that their order matters.")
    return sentences


def _what_motion_is_worth(found: Baselines) -> str:
    view, still, floor = found.one_view, found.one_frame, found.largest_class.top1
    if view.top1 <= floor:
        return "it is no better than the largest class, so there is nothing to explain"
    if still.gain_low is None:
        return "how much of the difference is chance is unknown, as all these clips are of one group"
    if still.gain_low <= 0:
        return "these clips do not show that it uses motion; appearance is enough for them"
    if still.top1 <= floor:
        return "no more than the largest class does, so all that it uses takes more than one frame"
    if still.top1 - floor >= (view.top1 - floor) / 2:
        return "most of what it uses is appearance, not motion"
    return "most of what it uses takes more than one frame"


def describe_leaks(leaks: Leaks) -> list[str]:
    """What makes the test scores too good, in sentences; empty when training and test share nothing."""
    sentences = []
    if leaks.groups:
        sentences.append(
            f"Do not trust this score for new scenes: {len(leaks.groups):,} of {count(leaks.test_groups, 'test group')} "
            f"({count(leaks.test_clips, 'clip')}) also have clips in training or validation, so the test partly measures "
            "memorisation. data.split.scheme=grouped or official avoids that."
        )
    if leaks.duplicates:
        sentences.append(
            f"{count(len(leaks.duplicates), 'pair')} of clips with the same frames (identical files, or overlapping segments) "
            "lie on both sides of the split: the test repeats clips that were trained on or that the epoch was chosen on."
        )
    if leaks.near_duplicates:
        sentences.append(
            f"{count(len(leaks.near_duplicates), 'pair')} of near-duplicate clips (the same, but re-encoded, resized, mirrored "
            "or trimmed) lie on both sides of the split. data.split.scheme=grouped with data.split.duplicates=group avoids that."
        )
    return sentences
