"""The end of a sweep: costs, table, figure and page of its trials, and the best one as a DVC experiment and MLflow's champion."""

import base64
import math
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipeline.artifacts import PREDICTIONS, Metrics
from pipeline.console import UserError, say
from pipeline.evaluation.predictions import Predictions, read_predictions
from pipeline.files import atomic_folder
from pipeline.reporting.style import png
from pipeline.reporting.templates import page_templates
from pipeline.revisions import open_files
from pipeline.sweeping.costs import Cost, measure_trials
from pipeline.sweeping.experiments import TrialError, run_experiment
from pipeline.sweeping.figure import pareto_figure
from pipeline.sweeping.plan import LARGER_IS_BETTER, Sweep
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.repeats import format_repeats, summarise_repeats
from pipeline.sweeping.stage_locks import STAGE_LOCKS, StageLocks
from pipeline.sweeping.start import OpenSweep
from pipeline.sweeping.table import compare, format_table
from pipeline.sweeping.trial import params_of, read_experiment, record_result

RESULTS = Path("results/sweeps")
WORDS = ("trial", "trial ended")  # columns of the page that are not numbers
TOLERANCE = 1e-6  # relative, of the scores of the best trial and of its experiment


def finish(sweep: OpenSweep) -> Path:
    """Compares the trials, writes results/sweeps/<name> (table.csv, pareto.png, index.html) and ends the sweep's run.

    Raises:
      UserError: no trial finished.
    """
    from pipeline.tracking import sweeps

    sweep.resources.close()
    plan, trials = sweep.plan, sweep.records.trials()
    finished = [trial for trial in trials if trial.status == "finished"]
    failed = len(trials) - len(finished)
    costs = measure_trials(finished, sweep.records.folder)
    table = compare(trials, plan.swept, costs, plan.objective)
    best = next((trial for trial in finished if trial.name == table["trial"].iloc[0]), None)
    repeats, problem = _summarise(sweep, finished), ""
    if best and best.commit is None and repeats is None:
        problem = confirm_best(best, Sweep.of_environment(), sweep.records)
        costs[best.name] = replace(costs[best.name], step_ms=best.step_ms)
        table = compare(trials, plan.swept, costs, plan.objective)
    for trial in finished:
        sweeps.open_run(trial.run_id).log_metrics(costs[trial.name].metrics())
    champion = sweeps.set_champion(best.model_run_id) if best and best.model_run_id and repeats is None else None
    shown = format_table(table, plan.swept, plan.objective)
    folder = write_results(sweep, table, shown, best, champion, repeats)
    _log_results(sweep, trials, best, costs, champion, repeats)
    _print_results(sweep, shown, best, champion, repeats)
    print(folder / "index.html")
    sweeps.end_sweep(sweep.run_id, "FINISHED" if finished else "FAILED")
    if best is None:
        raise UserError(f"none of {len(trials)} trials finished", advice=f"see {sweep.records.folder}/*.log")
    if problem:
        raise UserError(problem, advice=f"see {sweep.records.log(best.name)}")
    for path in sweep.records.folder.glob("features-*.done"):
        path.unlink()
    for path in (*sweep.records.folder.glob("features-*/"), *sweep.records.folder.glob("network-*/")):
        shutil.rmtree(path)
    if failed:
        say(f"{failed} of {len(trials)} trials failed, see {sweep.records.folder}/<trial>.log; the same command tries them again")
    return folder


def confirm_best(trial: Trial, sweep: Sweep, records: Records) -> str:
    """Makes a trial that only trained its top as a DVC experiment, whose scores must be the same. Its run replaces the trial's.

    Returns what is wrong, in one line; empty if nothing is.
    """
    from pipeline.tracking.sweeps import delete_run

    before, run_id = trial.metrics, trial.run_id
    say(f"making the best trial, {trial.name}, as a DVC experiment")
    try:
        commit = run_experiment(
            trial.name, trial.overrides, sweep, locks=StageLocks(STAGE_LOCKS, {}), on_stage=lambda stage: None
        )
    except TrialError as error:
        return f"the experiment of the best trial, {trial.name}, failed: {error}"
    read_experiment(trial, commit)
    record_result(trial, params_of(commit), sweep)
    records.write(trial)
    if run_id != trial.run_id:
        delete_run(run_id)
    return _differences(trial.name, before, trial.metrics)


def _differences(name: str, trial: Metrics, experiment: Metrics) -> str:
    """The first score that an experiment does not share with the trial that trained in a sweep's process."""
    for split in ("validation", "test"):
        scores, others = (getattr(metrics, split).model_dump() for metrics in (trial, experiment))
        for score, value in scores.items():
            other = others[score]
            if value != other and (
                None in (value, other) or not math.isclose(value, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            ):
                return f"{name}: {split} {score} is {value} as a trial and {other} as a DVC experiment, and should be the same"
    return ""


def _read_predictions(trial: Trial) -> Predictions:
    """The predictions of a trial: of its experiment, or else from its MLflow run."""
    from pipeline.tracking.store import open_client

    with TemporaryDirectory() as folder:
        copy = Path(folder) / PREDICTIONS.name
        if trial.commit is None:
            open_client().download_artifacts(trial.evaluated_run_id, PREDICTIONS.name, folder)
        else:
            open_files(trial.commit).get_file(str(PREDICTIONS), str(copy))
        return read_predictions(copy)


def _summarise(sweep: OpenSweep, finished: list[Trial]) -> pd.DataFrame | None:
    """The summary of repeats; None in a sweep whose trials compete."""
    plan, params = sweep.plan, sweep.params
    if plan.repeats is None or not finished:
        return None
    return summarise_repeats(finished, plan.repeats, plan.swept, plan.objective, _read_predictions, params.evaluate, params.seed)


def write_results(
    sweep: OpenSweep,
    table: pd.DataFrame,
    shown: pd.DataFrame,
    best: Trial | None,
    champion: str | None,
    repeats: pd.DataFrame | None = None,
) -> Path:
    """Writes the folder of results; the page is self-contained, and everything from the data is escaped in it."""
    picture = png(pareto_figure(table, sweep.plan.swept, sweep.params.evaluate.confidence))
    page = page_templates(Path(__file__).parent).get_template("page.html.j2")
    content = {
        "plan": sweep.plan,
        "command": sweep.command,
        "table": shown,
        "best": best,
        "champion": champion,
        "larger_is_better": LARGER_IS_BETTER[sweep.plan.objective],
        "confidence": sweep.params.evaluate.confidence,
        "picture": base64.b64encode(picture).decode(),
        "words": WORDS,
        "repeats": None if repeats is None else _shown_repeats(sweep, repeats),
    }
    with atomic_folder(RESULTS / sweep.plan.name) as part:
        table.to_csv(part / "table.csv", index=False)
        if repeats is not None:
            repeats.to_csv(part / "repeats.csv", index=False)
        (part / "pareto.png").write_bytes(picture)
        (part / "index.html").write_text(page.render(**content), encoding="utf-8")
    return RESULTS / sweep.plan.name


def _shown_repeats(sweep: OpenSweep, repeats: pd.DataFrame) -> pd.DataFrame:
    return format_repeats(repeats, sweep.plan.objective, sweep.params.evaluate.confidence)


def _log_results(
    sweep: OpenSweep,
    trials: list[Trial],
    best: Trial | None,
    costs: dict[str, Cost],
    champion: str | None,
    repeats: pd.DataFrame | None,
) -> None:
    """Puts the outcome on the sweep's run: counts and the best's scores as metrics, its name as tags, the folder as artifacts."""
    from pipeline.tracking import sweeps

    run = sweeps.open_run(sweep.run_id)
    finished = [trial for trial in trials if trial.status == "finished"]
    restored = sum(trial.origin == "restored" for trial in finished)
    run.log_metrics({"trials": {"finished": len(finished), "failed": len(trials) - len(finished), "restored": restored}})
    logged = {point.step for point in run.client.get_metric_history(run.run_id, "objective")}
    best_of = max if LARGER_IS_BETTER[sweep.plan.objective] else min
    so_far = []
    for trial in finished:
        so_far.append(trial.objective)
        if trial.jobs[0] not in logged:
            run.log_metrics({"objective": trial.objective, "objective_best_so_far": best_of(so_far)}, step=trial.jobs[0])
    if repeats is not None:
        first = repeats.iloc[0].drop([name for name in sweep.plan.swept if name in repeats])
        run.log_metrics({"repeats": {name: float(value) for name, value in first.items() if not pd.isna(value)}})
    elif best is not None:
        scores = {"objective": best.objective, **best.metrics.model_dump()}
        run.log_metrics({"best": scores} | costs[best.name].metrics())
        tags = {
            "best.trial": best.name,
            "best.run_id": best.run_id,
            "best.commit": best.commit or "none",
            "best.model": champion or "none",
        }
        tags |= {f"best.{key}": value for key, value in best.overrides.items() if key in sweep.plan.swept}
        experiment = run.client.get_run(run.run_id).info.experiment_id
        link = f"[{best.name}](#/experiments/{experiment}/runs/{best.run_id})"
        tags["mlflow.note.content"] = f"Best: {link}, `dvc exp apply {best.name}`. All trials: artifact sweep/index.html."
        run.set_tags(tags)
    run.log_artifacts(RESULTS / sweep.plan.name, "sweep")


def _print_results(
    sweep: OpenSweep, shown: pd.DataFrame, best: Trial | None, champion: str | None, repeats: pd.DataFrame | None
) -> None:
    left_out = {"trial", "parameters (M)", "training step (ms)", "peak memory (MiB)", ""}
    say(shown[[name for name in shown if name not in left_out]].to_string(index=False, max_colwidth=60))
    say("* not used to choose")
    if repeats is not None:
        say(_shown_repeats(sweep, repeats).to_string(index=False))
        say(f"{sweep.plan.repeats} repeats the run, so no trial is the champion")
    elif best is not None:
        say(f"best by validation {sweep.plan.objective}: {best.name} ({best.objective:.4f}), MLflow run {best.run_id}")
        say(f"to have its model, results and parameters here: dvc exp apply {best.name}")
        none = "no model version is registered for it (tracking.register_model is off, or it was trained on another MLflow)"
        say(f"champion: {champion}" if champion else none)
