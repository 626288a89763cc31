"""The whole job, both ways: two epochs on a frozen backbone, an evaluation, a confusion matrix; an epoch of it; a further trial.

The plain way takes many minutes. Where it is measured on some of its steps only, its time is scaled up by their number, and the
table says so. Then a step of predict counts as one of evaluate, and what is done once is added once: building, compiling the step
of fit and that of evaluate. That the plain way compiles predict too, and all again for the last, smaller batch, is left out.
"""

import statistics
from dataclasses import replace
from pathlib import Path

from benchmarks import ours, plain
from benchmarks.rows import Bench
from benchmarks.table import Row, number
from pipeline.console import say
from pipeline.params import Params

OTHER_RATE = 2.0  # what a further trial multiplies the learning rate by


def scale_up(job: plain.Job, first: dict[str, list[float]], steps: dict[str, list[float]]) -> dict[str, float]:
    """The plain way's seconds from those of single steps: {"epoch", "seconds" of the whole job}.

    Args:
      first: what `plain.run_steps` gave on its first call, which builds and compiles.
      steps: what it gave later.
    """
    step = {name: statistics.median(values) for name, values in steps.items()}
    counts = {"train": job.finetune.epochs * job.train_steps, "evaluate": 2 * job.test_steps}
    once = first["build"][0] + sum(max(0.0, first[name][0] - step[name]) for name in counts)
    total = once + sum(counts[name] * step[name] for name in counts)
    return {"epoch": job.train_steps * step["train"], "seconds": total}


def _describe_measured(job: plain.Job, steps: int) -> str:
    if not steps:
        return "whole"
    fit = f"{min(steps, job.train_steps)} of {job.finetune.epochs * job.train_steps} steps of fit"
    test = f"{min(steps, job.test_steps)} of {2 * job.test_steps} of evaluate and predict"
    return f"plain: {fit}, {test}; ours whole"


def add_job_rows(bench: Bench, params: Params, folder: Path, steps: int, accuracy: bool, weights: str) -> None:
    """Measures the job both ways.

    Args:
      steps: of the plain way's fit and of its evaluate that are run; 0: the whole job.
      weights: name of the network's weights.
      accuracy: where only some steps are run, run the plain way whole once, with fast convolutions, for its accuracy.
    """
    manifest = bench.ours.run(ours.place_clips, params, folder)
    job = plain.Job.of(params, manifest, folder / ours.CLIPS)
    rate = params.finetune.learning_rate * OTHER_RATE
    further = params.model_copy(update={"finetune": params.finetune.model_copy(update={"learning_rate": rate})})
    what = f"{params.model.id}, {params.frames.count} x {params.frames.size} px"
    first: dict[str, list[float]] = {}
    if steps:
        say(f"job {what}: building and compiling the plain way, one step each of fit and evaluate")
        first = bench.plain.run(plain.run_steps, job, 1)

    def run_plain() -> dict:
        if not steps:
            return bench.plain.run(plain.run_whole, job)
        return scale_up(job, first, bench.plain.run(plain.run_steps, job, steps))

    found, _ = bench.compare(
        f"job {what}",
        warm_up=False,
        plain=run_plain,
        whole=lambda: bench.ours.run(ours.run_whole, params, folder),
        trial=lambda: bench.ours.run(ours.train_and_evaluate, further, folder),
    )

    def seconds(way: str, *parts: str) -> tuple[float, ...]:
        return tuple(sum(result[part] for part in parts) for result in found[way])

    def add(what: str, unit: str, ours: tuple, other: tuple, note: str) -> None:
        bench.rows.append(Row("job", "speed", what, unit, ours, other, _describe_measured(job, steps), note))

    clips = f"{len(job.train)} training and {len(job.test)} test clips"
    stages = ("extract", "embed", "finetune", "evaluate")
    parts = ", ".join(f"{stage} {number(statistics.median(seconds('whole', stage)))}" for stage in stages)
    once = f"; plain includes building and compiling, {number(sum(values[0] for values in first.values()))} s" if first else ""
    again = "plain: the whole job again; ours:"
    add(
        f"an epoch of {what}",
        "an epoch",
        seconds("whole", "epoch"),
        seconds("plain", "epoch"),
        f"{clips}; ours trains on features that are there",
    )
    add(
        f"whole job of {what}: {job.finetune.epochs} epochs, evaluation, confusion matrix",
        "the job",
        seconds("whole", "seconds"),
        seconds("plain", "seconds"),
        f"{clips}; ours: {parts} s{once}; imports not counted on either side",
    )
    add(
        "a further head trial on a warm backbone: training and evaluation",
        "a trial",
        seconds("trial", "training", "evaluate"),
        seconds("plain", "seconds"),
        f"{again} building the head, training, evaluation and confusion matrix",
    )
    add(
        "a further head trial on a warm backbone: both stages whole",
        "a trial",
        seconds("trial", "finetune", "evaluate"),
        seconds("plain", "seconds"),
        f"{again} with the classifier's checkpoint and SavedModel written",
    )

    by_plain, how = found["plain"][0].get("accuracy"), "run whole"
    if by_plain is None and accuracy:
        say("job: the plain way whole, with fast convolutions, for its test accuracy")
        fast = replace(job, model=job.model.model_copy(update={"convolutions": "fast"}))
        by_plain, how = bench.plain.run(plain.run_whole, fast)["accuracy"], "run whole with fast convolutions: the same numbers"
    plain_text = "not measured" if by_plain is None else f"{by_plain:.3f} ({how})"
    bench.facts["test accuracy"] = (
        f"plain {plain_text}, ours {found['whole'][0]['accuracy']:.3f}; {clips}, weights {Path(weights).name}"
    )
