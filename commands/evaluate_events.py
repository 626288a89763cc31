"""Compares events that were found in videos with annotated ones.

  python -m commands.evaluate_events events.csv true.csv
  python -m commands.evaluate_events events.csv true.csv --duration 3600 --json

PREDICTED is what `python -m commands.predict --events` wrote. TRUE is a CSV or JSON of the same columns, or a listing of segments
(path, label, start and end, in seconds or hh:mm:ss). Every source that one of them names is evaluated. See docs/events.md for the
definitions.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.arguments import positive
from pipeline.console import UserError, run_command, say
from pipeline.events.evaluation import IOUS, Evaluation, evaluate_events
from pipeline.events.event import Event, clock_time
from pipeline.events.reading import read_events
from pipeline.video.decode import probe

_SAME_PATH = "write the same path in both files"


def match_sources(found: Sequence[Event], annotated: Sequence[Event]) -> list[Event]:
    """`found` with the sources named as in `annotated`: a path that is written differently is recognised by the end of it.

    Two paths may name the same file if one is the end of the other, or, where there is none such, if the name of the file is the
    same. Raises UserError unless that is one file for one file.
    """
    theirs = {event.source for event in annotated}
    ours = {event.source for event in found} - theirs
    free = sorted(theirs - {event.source for event in found})
    names = {source: source for source in theirs}
    for source in sorted(ours):
        same_name = [other for other in free if Path(other).name == Path(source).name]
        same_end = [other for other in same_name if _is_end(other, source) or _is_end(source, other)]
        candidates = same_end or same_name
        if len(candidates) > 1:
            raise UserError(f"{source}: may be any of {', '.join(candidates)}", advice=_SAME_PATH)
        names[source] = candidates[0] if candidates else source
    for source in free:
        several = sorted(other for other in ours if names[other] == source)
        if len(several) > 1:
            raise UserError(f"{source}: may be any of {', '.join(several)}", advice=_SAME_PATH)
    return [event._replace(source=names[event.source]) for event in found]


def _is_end(end: str, path: str) -> bool:
    """Whether the last folders and the name of `path` are `end`."""
    parts = Path(end).parts
    return Path(path).parts[-len(parts) :] == parts


def measure_sources(sources: Sequence[str], folders: Sequence[Path], duration: float | None) -> dict[str, float]:
    """The length of each source in seconds: `duration`, or what the header of the file says, also below one of `folders`.

    Raises UserError for a source without either.
    """
    lengths = {}
    for source in sources:
        if duration is not None:
            lengths[source] = duration
            continue
        path = next((path for path in (Path(source), *(folder / source for folder in folders)) if path.is_file()), None)
        seconds = None if path is None else probe(path).seconds
        if seconds is None:
            what = "no such file" if path is None else "its header states no duration"
            raise UserError(f"{source}: {what}, so its length is unknown", advice="give --duration SECONDS")
        lengths[source] = seconds
    return lengths


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def as_text(evaluation: Evaluation) -> str:
    """The figures as a table."""
    names = [one.class_name for one in evaluation.classes]
    width = max(map(len, (*names, "mean of the annotated classes")))
    head = [f"AP@{iou:g}" for iou in IOUS]
    columns = [*head, f"recall@{IOUS[0]:g}", "annotated", "found", f"false@{IOUS[0]:g}"]
    lines = [" " * width + "".join(f"  {column:>10}" for column in columns)]

    def line(name: str, values: Sequence[float | None], counts: Sequence[int]) -> str:
        cells = [*(_number(value) for value in values), *map(str, counts)]
        return f"{name:<{width}}" + "".join(f"  {cell:>10}" for cell in cells)

    for one in evaluation.classes:
        values = [*(one.average_precision or [None] * len(IOUS)), one.recall]
        lines.append(line(one.class_name, values, [one.annotated, one.found, one.false_alarms]))
    means = [*(evaluation.mean_average_precision or [None] * len(IOUS)), evaluation.recall]
    counts = [evaluation.annotated, evaluation.found, evaluation.false_alarms]
    lines += [
        line("mean of the annotated classes", means, counts),
        "",
        f"frame accuracy        {evaluation.frame_accuracy:.3f}",
        f"false alarms an hour  {evaluation.false_alarms_per_hour:.1f}",
        f"length                {clock_time(evaluation.seconds)} in {evaluation.sources} source{'s' * (evaluation.sources != 1)}",
    ]
    return "\n".join(lines)


def as_json(evaluation: Evaluation) -> str:
    """One JSON object; average precisions are keyed by the IoU."""

    def by_iou(values: Sequence[float] | None) -> dict[str, float] | None:
        return None if values is None else {f"{iou:g}": value for iou, value in zip(IOUS, values, strict=True)}

    content = evaluation._asdict() | {"mean_average_precision": by_iou(evaluation.mean_average_precision)}
    content["classes"] = {
        one.class_name: {key: value for key, value in one._asdict().items() if key != "class_name"}
        | {"average_precision": by_iou(one.average_precision)}
        for one in evaluation.classes
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.evaluate_events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predicted", type=Path, metavar="PREDICTED", help="events that were found, .csv or .json")
    parser.add_argument("true", type=Path, metavar="TRUE", help="annotated events, .csv or .json")
    parser.add_argument(
        "--duration",
        type=positive,
        metavar="SECONDS",
        help="of each source (default: of the video files, also looked for in the folders of the two files)",
    )
    parser.add_argument("--background", metavar="CLASS", help="a class of TRUE that is no event (data.background.label)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    annotated = read_events(options.true)
    if options.background is not None:
        kept = [event for event in annotated if event.class_name != options.background]
        if len(kept) == len(annotated):
            raise UserError(f"--background {options.background}: {options.true} names no such class", advice="check its name")
        annotated = kept
    found = match_sources(read_events(options.predicted), annotated)
    sources = sorted({event.source for event in (*found, *annotated)})
    if not sources:
        raise UserError(f"{options.predicted} and {options.true}: contain no event", advice="there is nothing to compare")
    unmatched = sorted({event.source for event in found} - {event.source for event in annotated})
    if unmatched:
        say(f"note: {options.true} names no event of {', '.join(unmatched)}: all found there are false alarms")
    lengths = measure_sources(sources, [options.predicted.parent, options.true.parent], options.duration)
    evaluation = evaluate_events(found, annotated, lengths)
    print(as_json(evaluation) if options.json else as_text(evaluation))


if __name__ == "__main__":
    run_command(main)
