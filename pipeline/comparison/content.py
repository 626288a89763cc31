"""What a comparison shows, section by section, for the page and the Markdown file.

A new table is a function here that returns a `Table`, and one line in `make_sections`.
"""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from pipeline.comparison.compare import Comparison, Pair
from pipeline.comparison.parameters import differing_parameters
from pipeline.comparison.wording import (
    VERDICTS,
    level,
    pair_name,
    points,
    show_accuracy,
    show_log_loss,
    show_log_loss_difference,
    show_p,
    show_points,
)
from pipeline.reporting.wording import count, percent

PICTURED = 72  # clips shown as frames, of all lists of flips together; about 2 MB
STRIPS = 12  # of one list
LISTED = 1000  # rows of a table of flips; all are in flips.csv
ABSENT = "–"


class Table(NamedTuple):
    """words: columns that are text, besides the first, which names the row."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    words: frozenset[str] = frozenset()


class Flip(NamedTuple):
    """A clip that only one of two models has right. first, second: what they say. frames: JPEGs; none where not at hand."""

    clip: str
    actual: str
    first: str
    second: str
    frames: list[bytes]

    @property
    def name(self) -> str:
        return PurePosixPath(self.clip).name


class FlipList(NamedTuple):
    """flips: all of them; those with frames are shown as pictures, too."""

    title: str
    first: str
    second: str
    flips: list[Flip]

    @property
    def shown(self) -> list[Flip]:
        return [flip for flip in self.flips if flip.frames]

    @property
    def table(self) -> Table:
        rows = [[flip.clip, flip.actual, flip.first, flip.second] for flip in self.flips[:LISTED]]
        columns = ["clip", "actual class", f"{self.first} says", f"{self.second} says"]
        cut = f"; the first {LISTED:,}, all are in flips.csv" if len(self.flips) > LISTED else ""
        return Table(f"{self.title}, the largest change first{cut}", columns, rows, frozenset(columns))


class Section(NamedTuple):
    """picture: whether the figure stands here."""

    anchor: str
    title: str
    paragraphs: list[str]
    tables: list[Table]
    flips: list[FlipList]
    picture: bool = False


def flipping_clips(comparison: Comparison) -> list[str]:
    """The clips whose frames are wanted: the first of each list of flips."""
    each = max(1, min(STRIPS, PICTURED // (2 * len(comparison.pairs))))
    chosen = [clip for pair in comparison.pairs for flips in (pair.gained, pair.lost) for clip in flips[:each]]
    return [str(clip) for clip in comparison.shared.clips[sorted(set(chosen))]]


def flips_frame(comparison: Comparison) -> pd.DataFrame:
    """All flips, a row each. probability: of the actual class."""
    shared, rows = comparison.shared, []
    for pair in comparison.pairs:
        for clip in (*pair.gained, *pair.lost):
            label = shared.labels[clip]
            row = {"clip": shared.clips[clip], "group": shared.groups[clip], "actual": shared.classes[label]}
            for side, model in (("first", pair.first), ("second", pair.second)):
                row[side] = comparison.models[model].label
                row[f"{side}_predicted"] = shared.classes[shared.predicted[model, clip]]
                row[f"{side}_probability"] = shared.probabilities[model][clip, label]
            rows.append(row)
    sides = [f"{side}{name}" for side in ("first", "second") for name in ("", "_predicted", "_probability")]
    return pd.DataFrame(rows, columns=["clip", "group", "actual", *sides])


def make_sections(comparison: Comparison, strips: Mapping[str, list[bytes]]) -> list[Section]:
    """strips: frames of clips."""
    parameters = _parameters(comparison)
    return [
        Section("scores", "Scores", _score_notes(comparison), [_scores(comparison), _differences(comparison)], [], picture=True),
        Section("classes", "Classes that gain and lose", *_classes(comparison), []),
        Section(
            "clips", "Clips that flip", _flip_notes(comparison, strips), [_agreement(comparison)], _flips(comparison, strips)
        ),
        Section("cost", "Cost", *_costs(comparison), []),
        Section(
            "parameters",
            "Parameters that differ",
            [] if parameters.rows else ["None that is recorded."],
            [parameters] if parameters.rows else [],
            [],
        ),
        Section("method", "How to read this", _method(comparison), [], []),
    ]


def _scores(comparison: Comparison) -> Table:
    share = level(comparison)
    columns = [
        "model",
        f"accuracy ({share} interval)",
        f"log loss ({share} interval)",
        "macro F1",
        "calibration error",
    ]
    rows = [
        [
            model.label,
            show_accuracy(scores.accuracy),
            show_log_loss(scores.log_loss),
            percent(scores.macro_f1),
            percent(scores.ece),
        ]
        for model, scores in zip(comparison.models, comparison.scores, strict=True)
    ]
    return Table(f"Scores on the shared {comparison.shared.split} clips", columns, rows)


def _differences(comparison: Comparison) -> Table:
    share, several = level(comparison), len(comparison.pairs) > 1
    p_values = [("p by groups", "by_group"), ("McNemar's p", "mcnemar")]
    columns = ["pair", "verdict", f"accuracy, points ({share} interval)", f"log loss ({share} interval)"]
    for title, _ in p_values:
        columns += [title, f"{title}, Holm"] if several else [title]
    rows = []
    for pair in comparison.pairs:
        row = [pair_name(comparison, pair), VERDICTS[pair.verdict]]
        row += [show_points(pair.accuracy), show_log_loss_difference(pair.log_loss)]
        for _, name in p_values:
            row.append(show_p(getattr(pair, name)))
            if several:
                row.append(show_p(getattr(pair, f"{name}_holm")))
        rows.append(row)
    return Table(f"Differences on the same {comparison.shared.split} clips", columns, rows, frozenset({"verdict"}))


def _agreement(comparison: Comparison) -> Table:
    columns = ["pair", "both right", "only the first right", "only the second right", "both wrong"]
    rows = []
    for pair in comparison.pairs:
        names = f"{comparison.models[pair.first].label}, {comparison.models[pair.second].label}"
        rows.append([names, *(f"{number:,}" for number in (pair.both, pair.only_first, pair.only_second, pair.neither))])
    return Table("Clips by which of two models is right", columns, rows)


def _classes(comparison: Comparison) -> tuple[list[str], list[Table]]:
    notes, tables = [], []
    for pair in comparison.pairs:
        first, second = (comparison.models[number].label for number in (pair.first, pair.second))
        same = len(comparison.shared.classes) - len(pair.classes)
        if same:
            notes.append(
                f"{pair_name(comparison, pair)}: {count(same, 'class')} {'has' if same == 1 else 'have'} the same clips right."
            )
        columns = [
            "class",
            "clips",
            f"recall of {first}",
            f"recall of {second}",
            f"points ({level(comparison)} interval)",
            "change",
        ]
        rows = [
            [
                change.class_name,
                f"{change.clips:,}",
                percent(change.first),
                percent(change.second),
                show_points(change.difference),
                "gains" if change.difference.value > 0 else "loses" if change.difference.value < 0 else "other clips right",
            ]
            for change in pair.classes
        ]
        if rows:
            tables.append(Table(f"Classes, {pair_name(comparison, pair)}", columns, rows, frozenset({"change"})))
    if tables:
        notes.append("The intervals of classes are not corrected for their number: of many classes, some exclude 0 by chance.")
    return notes, tables


def _flips(comparison: Comparison, strips: Mapping[str, list[bytes]]) -> list[FlipList]:
    lists = []
    for pair in comparison.pairs:
        first, second = (comparison.models[number].label for number in (pair.first, pair.second))
        for chosen, right, wrong in ((pair.gained, second, first), (pair.lost, first, second)):
            if len(chosen):
                title = f"{right} right, {wrong} wrong: {count(len(chosen), 'clip')}"
                lists.append(FlipList(title, first, second, [_flip(comparison, pair, clip, strips) for clip in chosen]))
    return lists


def _flip(comparison: Comparison, pair: Pair, clip: int, strips: Mapping[str, list[bytes]]) -> Flip:
    shared = comparison.shared
    name, actual = str(shared.clips[clip]), shared.classes[shared.labels[clip]]

    def says(model: int) -> str:
        predicted = shared.predicted[model, clip]
        probability = shared.probabilities[model][clip]
        answer = f"{shared.classes[predicted]} {percent(probability[predicted])}"
        return answer if predicted == shared.labels[clip] else f"{answer}, {actual} {percent(probability[shared.labels[clip]])}"

    return Flip(name, actual, says(pair.first), says(pair.second), strips.get(name, []))


def _flip_notes(comparison: Comparison, strips: Mapping[str, list[bytes]]) -> list[str]:
    wanted = flipping_clips(comparison)
    if not wanted:
        return ["None: the models have the same clips right."]
    if not strips:
        return ["Without pictures: data/frames of this checkout does not hold these clips. `dvc repro extract` makes it."]
    missing = sum(name not in strips for name in wanted)
    absent = f" It does not hold {missing} of them." if missing else ""
    return [f"Frames are of data/frames of this checkout, for the first clips of each list.{absent}"]


def _costs(comparison: Comparison) -> tuple[list[str], list[Table]]:
    models = comparison.models
    columns = ["model", "parameters", "training, seconds", "trained", "fed with"]
    rows = [
        [
            model.label,
            _known(model.cost.parameters, "{:,}".format),
            _known(model.cost.training_seconds, "{:,.1f}".format),
            model.cost.trained or ABSENT,
            model.cost.fed or ABSENT,
        ]
        for model in models
    ]
    tables = [Table("Cost of each model", columns, rows, frozenset({"trained", "fed with"}))]
    files = [
        [
            model.label,
            row.format,
            f"{row.bytes / 1e6:,.2f}",
            percent(row.test_top1),
            _known(row.milliseconds_a_frame, "{:.2f}".format),
            _known(row.threads, "{}".format),
            _known(row.state_bytes, lambda value: f"{value / 1e6:.2f}"),
        ]
        for model in models
        for row in model.cost.exports
    ]
    notes = ["Seconds are of finetune alone, on the machine that trained; a frozen backbone's features are not in them."]
    if files:
        columns = ["model", "file", "MB", "test accuracy", "milliseconds a frame", "threads", "state, MB"]
        tables.append(Table("Exported files, as export measured them", columns, files, frozenset({"file"})))
    without = [model.label for model in models if not model.cost.exports]
    if without:
        notes.append(f"Nothing is recorded as exported of {', '.join(without)}: size and latency are not known.")
    return notes, tables


def _known(value: float | None, show: Callable[[float], str]) -> str:
    return ABSENT if value is None else show(value)


def _parameters(comparison: Comparison) -> Table:
    labels = [model.label for model in comparison.models]
    rows = [
        [parameter.name, *(ABSENT if value is None else value for value in parameter.values)]
        for parameter in differing_parameters(comparison.models)
    ]
    return Table("Parameters that differ", ["parameter", *labels], rows, frozenset(labels))


def _score_notes(comparison: Comparison) -> list[str]:
    baseline = comparison.models[0].label
    highest = max(score.accuracy.value for score in comparison.scores)
    best = [
        model.label for model, score in zip(comparison.models, comparison.scores, strict=True) if score.accuracy.value == highest
    ]
    notes = [f"The most accurate {'is' if len(best) == 1 else 'are'} {' and '.join(best)}."]
    if comparison.all_pairs:
        notes.append("Every pair is compared: the difference is of the model named first less the other.")
    elif len(comparison.models) > 2:
        notes.append(
            f"{baseline}, named first, is the baseline: the others are compared with it, not with each other (--all-pairs)."
        )
    if all(pair.verdict == "undecided" for pair in comparison.pairs):
        ends = [abs(end) for pair in comparison.pairs for end in (pair.accuracy.low, pair.accuracy.high) if end is not None]
        if ends:
            largest = points(max(ends)).lstrip("+")
            notes.append(f"Undecided does not mean equal: the data do not rule out a difference of {largest} points.")
    return notes


def _method(comparison: Comparison) -> list[str]:
    resampling, several = comparison.resampling, len(comparison.pairs) > 1
    paragraphs = [
        "Clips of one group (a person, a scene, a source video) are not independent, so intervals come from resampling whole "
        f"groups ({resampling.resamples:,} times), with both models on the same clips in each resample.",
        "p by groups is how often accuracies would differ at least as much if, group by group, chance had decided which model is "
        "which (exact sign-flip test). It matters where few groups differ: the interval alone is too narrow then.",
        "McNemar's exact test is what papers report. It takes clips for independent, so with several clips a group its p is too "
        "small; it decides nothing here.",
        f"Better or worse is said where the interval excludes 0 and p by groups is below {1 - resampling.confidence:.2g}"
        + (
            f", after Holm's correction for {len(comparison.pairs)} comparisons. Intervals are of each pair by itself."
            if several
            else "."
        ),
        "Each model is one training. The intervals cover the choice of test clips, not training again with another seed.",
    ]
    return paragraphs
