"""The measured rounds as tables: what a clip costs with each network, and how many times what it costs with one of ours."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from benchmarks.table import number, spread_text, table
from benchmarks.timing import ratios
from benchmarks.versus.clock import Cost
from benchmarks.versus.published import PUBLISHED

REFERENCES = ("a0", "a0_stream", "a2")
CACHED = ("a0", "a0_stream", "a2")  # decoded and passed through the backbone once, whatever the number of epochs
EPOCHS = 10
COLUMNS = {"decode": "decode", "forward": "forward", "head_step": "head step", "whole_step": "whole step"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Costs:
    """Of a clip: reading its frames, a forward pass, and a training step of the head and of the whole network."""

    decode: Cost
    forward: Cost
    head_step: Cost
    whole_step: Cost


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Round:
    """What one process measured. Memory in bytes: the peak until the forward passes were done, and that of the training steps."""

    costs: Costs
    frames: int
    size: int
    parameters: int
    inference_memory: int
    training_memory: int


Rounds = Mapping[str, Sequence[Round]]
parse_round = TypeAdapter(Round).validate_json


def whole_rounds(found: Rounds) -> Rounds:
    """The rounds that all networks measured so far have: in the first, those networks alone."""
    least = min(len(rounds) for rounds in found.values() if rounds)
    return {name: rounds[:least] for name, rounds in found.items() if rounds}


def head_job(name: str, costs: Costs) -> float:
    """CPU-seconds a clip of EPOCHS epochs of a head, from the video on: cached features, or a pass in each epoch."""
    if name in CACHED:
        return costs.decode.cpu + costs.forward.cpu + EPOCHS * costs.head_step.cpu
    return EPOCHS * (costs.decode.cpu + costs.head_step.cpu)


def _seconds(name: str, rounds: Sequence[Round]) -> dict[str, list[float]]:
    """CPU-seconds a clip, one a round, by the heading of their column."""
    measured = {title: [getattr(one.costs, part).cpu for one in rounds] for part, title in COLUMNS.items()}
    return measured | {f"head, {EPOCHS} epochs": [head_job(name, one.costs) for one in rounds]}


def _cost_table(found: Rounds) -> list[str]:
    rows = []
    for name, rounds in found.items():
        shape, seconds = rounds[0], _seconds(name, rounds)
        known = PUBLISHED[name]
        pixels = {"network": known.title, "input": f"{shape.frames} x {shape.size}", "M": f"{shape.parameters / 1e6:.1f}"}
        accuracy = {"K400": known.kinetics400, "K600": known.kinetics600}
        memory = (max(one.inference_memory for one in rounds), max(one.training_memory for one in rounds))
        rows.append(
            pixels
            | {title: "-" if top1 is None else f"{top1:.1f}" for title, top1 in accuracy.items()}
            | {"views": str(known.views)}
            | {title: number(statistics.median(values)) for title, values in seconds.items()}
            | {"GB, forward": f"{memory[0] / 1e9:.1f}", "GB, training": f"{memory[1] / 1e9:.1f}"}
        )
    return table(rows)


def _ratio_table(found: Rounds, reference: str) -> list[str]:
    ours = _seconds(reference, found[reference])
    rows = []
    for name, rounds in found.items():
        if name == reference:
            continue
        times = {
            title: spread_text(ratios(values, ours[title]))
            for title, values in _seconds(name, rounds).items()
            if title != "head step"
        }
        rows.append({f"over {PUBLISHED[reference].title}": PUBLISHED[name].title} | times)
    return table(rows)


def lines_of(found: Rounds, batch: int) -> list[str]:
    """The Markdown: costs beside published accuracy, then the ratios of the rounds to each of REFERENCES that was measured."""
    rounds = min(len(one) for one in found.values())
    lines = [
        f"CPU-seconds a clip, all threads together, median of {rounds} round{'s' * (rounds > 1)}; batches of {batch}; random "
        "weights. Input: frames x pixels. M: million parameters. K400, K600: published top-1, the mean of so many views, each of "
        "which costs a forward.",
        "Decode: one view; with this pipeline the whole clip at 5 frames a second, as JPEGs, once. Head step: on cached features "
        f"with this pipeline, through the whole network with others. Head, {EPOCHS} epochs: from the video on.",
        "",
        *_cost_table(found),
    ]
    for reference in REFERENCES:
        if reference in found and len(found) > 1:
            lines += [
                "",
                "Median ratio of the rounds, in brackets the smallest and largest.",
                "",
                *_ratio_table(found, reference),
            ]
    return [*lines, "", "Sources of the accuracies:", "", *sorted({f"- {PUBLISHED[name].source}" for name in found})]


def records(found: Rounds) -> list[dict]:
    """A row for each network and round, for the JSON and CSV."""
    rows = []
    for name, rounds in found.items():
        for number_, one in enumerate(rounds, start=1):
            row = asdict(one)
            costs = row.pop("costs")
            seconds = {
                f"{part}_{kind}": value for part, cost in costs.items() for kind, value in zip(Cost._fields, cost, strict=True)
            }
            rows.append({"network": name, "round": number_} | row | seconds | {"head_job_cpu": head_job(name, one.costs)})
    return rows
