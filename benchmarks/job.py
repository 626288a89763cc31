"""The whole job, both ways: two epochs on a frozen backbone, an evaluation, a confusion matrix; an epoch of it; a further trial.

The plain way takes many minutes. Where it is measured on some of its steps only, its time is scaled up by their number, and the
table says so. Then a step of predict counts as one of evaluate, and what is done once is added once: building, compiling the step
of fit and that of evaluate. That the plain way compiles predict too, and all again for the last, smaller batch, is left out.
"""

import statistics
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks import ours as our_stages
from benchmarks import plain
from benchmarks.sections import Bench, labelled
from benchmarks.table import Row, number
from pipeline.console import say
from pipeline.params import Params

OTHER_RATE = 2.0  # what a further trial multiplies the learning rate by


def plain_job(params: Params, manifest: pd.DataFrame, clips: Path, convolutions: str = "stock") -> plain.Job:
    """The same job for the plain way: same clips, frames, weights, batch, epochs and learning rate."""
    settings, frames = params.finetune, params.frames
    return plain.Job(
        train=labelled(manifest, clips, "train"),
        test=labelled(manifest, clips, "test"),
        classes=manifest["class"].nunique(),
        model=params.model.model_copy(update={"convolutions": convolutions}),
        count=frames.count,
        size=frames.size,
        fps=frames.fps,
        batch=settings.batch_size,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        seed=params.seed,
    )


def scaled(job: plain.Job, first: dict[str, list[float]], steps: dict[str, list[float]]) -> dict[str, float]:
    """The plain way's seconds out of single steps: {"epoch", "seconds" of the whole job}.

    Args:
      first: what `plain.run_steps` gave on its first call, which builds and compiles.
      steps: what it gave later.
    """
    step = {name: statistics.median(values) for name, values in steps.items() if name != "build"}
    counts = {"train": job.epochs * job.train_steps, "evaluate": 2 * job.test_steps}
    once = first["build"][0] + sum(max(0.0, first[name][0] - step[name]) for name in counts)
    return {
        "epoch": job.train_steps * step["train"],
        "seconds": once + sum(counts[name] * step[name] for name in counts),
    }


def _measure_plain(bench: Bench, job: plain.Job, first: dict | None, steps: int) -> dict:
    """{"seconds", "epoch"} of the plain way, and where all of it is run, its "accuracy"."""
    if first is None:
        whole = bench.plain.run(plain.run_whole, job)
        return whole | {"epoch": sum(whole["train"][-job.train_steps :])}
    return scaled(job, first, bench.plain.run(plain.run_steps, job, steps))


def job_rows(bench: Bench, params: Params, work: Path, manifest: pd.DataFrame, steps: int, accuracy: bool) -> None:
    """Measures the job both ways.

    Args:
      steps: of the plain way's fit and of its evaluate that are run; 0 = the whole job.
      accuracy: run the plain way whole, with fast convolutions, for its accuracy, where only some steps were run.
    """
    job = plain_job(params, manifest, work / our_stages.CLIPS)
    rate = params.finetune.learning_rate * OTHER_RATE
    further = params.model_copy(update={"finetune": params.finetune.model_copy(update={"learning_rate": rate})})
    what = f"{params.model.id}, {params.frames.count} x {params.frames.size} px"
    first = None
    if steps:
        say(f"job {what}: building and compiling the plain way, one step each of fit and evaluate")
        first = bench.plain.run(plain.run_steps, job, 1)
    found = bench.rounds(
        f"job {what}",
        lambda: _measure_plain(bench, job, first, steps),
        lambda: bench.ours.run(our_stages.run_whole, params, work),
        lambda: bench.ours.run(our_stages.train_and_evaluate, further, work),
    )
    plains, wholes, trials = found
    seconds = tuple(result["seconds"] for result in plains)
    total = job.epochs * job.train_steps, job.test_steps
    measured = "whole"
    if steps:
        done = min(steps, job.train_steps), min(steps, job.test_steps)
        measured = f"plain: {done[0]} of {total[0]} steps of fit, {done[1]} of {2 * total[1]} of evaluate and predict; ours whole"
    clips = f"{len(job.train)} training and {len(job.test)} test clips"

    def middle(results: list[dict], part: str) -> str:
        return f"{part} {number(statistics.median(result[part] for result in results))}"

    def add(what: str, unit: str, ours: tuple, other: tuple, note: str) -> None:
        bench.rows.append(Row("job", "speed", what, unit, ours, other, measured, note))

    parts = ", ".join(middle(wholes, part) for part in ("extract", "embed", "finetune", "evaluate"))
    once = f"; plain includes building and compiling, {number(_once(job, first))} s" if first else ""
    add(
        f"an epoch of {what}",
        "an epoch",
        tuple(result["epoch"] for result in wholes),
        tuple(result["epoch"] for result in plains),
        f"{clips}; ours trains on features that are there",
    )
    add(
        f"whole job of {what}: {job.epochs} epochs, evaluation, confusion matrix",
        "the job",
        tuple(result["seconds"] for result in wholes),
        seconds,
        f"{clips}; ours: {parts} s{once}; imports not counted on either side",
    )
    add(
        "a further head trial on a warm backbone: training and evaluation",
        "a trial",
        tuple(result["training"] + result["evaluate"] for result in trials),
        seconds,
        "plain: the whole job again; ours: building the head, training, evaluation and confusion matrix",
    )
    add(
        "a further head trial on a warm backbone: both stages whole",
        "a trial",
        tuple(result["finetune"] + result["evaluate"] for result in trials),
        seconds,
        "plain: the whole job again; ours: with the classifier's checkpoint and SavedModel written",
    )
    _add_accuracy(bench, job, plains[0], wholes[0], clips, accuracy)


def _once(job: plain.Job, first: dict) -> float:
    """An upper bound of what the plain way does once: its first steps, with the building."""
    return sum(values[0] for values in first.values())


def _add_accuracy(bench: Bench, job: plain.Job, by_plain: dict, by_ours: dict, clips: str, accuracy: bool) -> None:
    """Test accuracy of both. Where plain was not run whole, it now is with fast convolutions: the same numbers, sooner."""
    how = "run whole"
    if "accuracy" not in by_plain and not accuracy:
        bench.facts["test accuracy"] = f"ours {by_ours['accuracy']:.3f}; the plain way's is not measured with --quick; {clips}"
        return
    if "accuracy" not in by_plain:
        say("job: the plain way whole, with fast convolutions, for its test accuracy")
        by_plain = bench.plain.run(plain.run_whole, replace(job, model=job.model.model_copy(update={"convolutions": "fast"})))
        how = f"run whole with fast convolutions, which give the same numbers, in {number(by_plain['seconds'])} s"
    weights = Path(job.model.weights).name
    accuracies = f"plain {by_plain['accuracy']:.3f} ({how}), ours {by_ours['accuracy']:.3f}"
    bench.facts["test accuracy"] = f"{accuracies}; {clips}, weights {weights}"
