"""The end of a sweep: what the trials cost, the table, the picture and the page, and the best as MLflow's champion."""

import base64
import html
from pathlib import Path

import pandas as pd

from pipeline.console import UserError, say
from pipeline.files import atomic_folder
from pipeline.reporting.figures import png
from pipeline.sweeping import table as tables
from pipeline.sweeping.costs import Cost, measure, metrics_of
from pipeline.sweeping.figure import pareto_figure
from pipeline.sweeping.page import render
from pipeline.sweeping.records import Trial
from pipeline.sweeping.settings import LARGER_IS_BETTER
from pipeline.sweeping.start import OpenSweep

RESULTS = Path("results/sweeps")


def finish(sweep: OpenSweep) -> Path:
    """Compares the trials, writes results/sweeps/<name> (table.csv, table.md, pareto.png, index.html) and ends the sweep's run.

    Raises:
      UserError: no trial finished.
    """
    from pipeline.tracking import sweeps

    sweep.showing.close()
    trials = sweep.records.trials()
    finished = [trial for trial in trials if trial.status == "finished"]
    costs = measure(finished)
    for trial in finished:
        sweeps.run_of(trial.run_id).log_metrics(metrics_of(costs[trial.name]))
    comparison = tables.comparison(trials, sweep.plan.swept, costs, sweep.plan.objective)
    best = next((trial for trial in finished if trial.name == comparison["trial"].iloc[0]), None)
    champion = sweeps.set_champion(best.model_run_id) if best else None
    folder = _write(sweep, comparison, best, champion)
    _track(sweep, comparison, trials, best, costs, champion)
    _tell(sweep, comparison, best, champion, folder)
    failed = sum(trial.status == "failed" for trial in trials)
    sweeps.end_sweep(sweep.run_id, "FINISHED" if finished else "FAILED")
    if best is None:
        raise UserError(f"none of {len(trials)} trials finished", advice=f"see {sweep.records.folder}/*.log")
    if failed:
        say(f"{failed} of {len(trials)} trials failed, see {sweep.records.folder}/<trial>.log; the same command tries them again")
    return folder


def _write(sweep: OpenSweep, comparison: pd.DataFrame, best: Trial | None, champion: str | None) -> Path:
    plan, confidence = sweep.plan, sweep.params.evaluate.confidence
    picture = png(pareto_figure(comparison, plan.swept, confidence))
    shown = tables.shown(comparison, plan.swept, plan.objective)
    with atomic_folder(RESULTS / plan.name) as part:
        comparison.to_csv(part / "table.csv", index=False)
        notes = "\n".join(f"- {note}" for note in _notes(sweep))
        (part / "table.md").write_text(f"# {plan.name}\n\n{tables.markdown(shown)}\n{notes}\n", encoding="utf-8")
        (part / "pareto.png").write_bytes(picture)
        page = render(
            plan=plan,
            table=shown,
            best=best,
            champion=champion,
            notes=_notes(sweep),
            picture=base64.b64encode(picture).decode(),
            command=_command(sweep),
        )
        (part / "index.html").write_text(page, encoding="utf-8")
    return RESULTS / plan.name


def _notes(sweep: OpenSweep) -> list[str]:
    level = f"{100 * sweep.params.evaluate.confidence:g}%"
    better = "highest" if LARGER_IS_BETTER[sweep.plan.objective] else "lowest"
    return [
        f"Best first: the {better} validation {sweep.plan.objective}; ties go to the lower validation log loss.",
        f"* Test is shown for the record and chose nothing. Intervals: {level}, resampling groups of clips.",
        "The best of many trials looks better on validation than it is: its test score is the fair one.",
        "Operations are multiplications and additions of one clip, all its views; latency is one clip on one CPU thread; memory "
        "is the whole process that classifies it. Networks that differ only in their values are measured once.",
        "A training step is timed as the trial ran, with whatever else the machine did.",
        "front: no other trial is at least as accurate on validation with at most as many operations.",
    ]


def _track(
    sweep: OpenSweep,
    comparison: pd.DataFrame,
    trials: list[Trial],
    best: Trial | None,
    costs: dict[str, Cost],
    champion: str | None,
) -> None:
    """Puts the outcome on the sweep's run: counts and the best's scores as metrics, its name as tags, the folder as artifacts."""
    from pipeline.tracking import sweeps

    run = sweeps.run_of(sweep.run_id)
    origins = [trial.origin for trial in trials]
    run.log_metrics(
        {
            "trials/finished": sum(trial.status == "finished" for trial in trials),
            "trials/failed": sum(trial.status == "failed" for trial in trials),
            "trials/restored": origins.count("restored"),
        }
    )
    known = {point.step for point in run.client.get_metric_history(run.run_id, "objective")}
    so_far, sign = None, 1 if LARGER_IS_BETTER[sweep.plan.objective] else -1
    for trial in trials:
        if trial.objective is None:
            continue
        so_far = trial.objective if so_far is None else sign * max(sign * so_far, sign * trial.objective)
        if trial.number not in known:
            run.log_metrics({"objective": trial.objective, "objective_best_so_far": so_far}, step=trial.number)
    if best is not None:
        run.log_metrics({"best": {"objective": best.objective, **best.metrics}} | metrics_of(costs[best.name]))
        tags = {"best.trial": best.name, "best.run_id": best.run_id, "best.commit": best.commit, "best.model": champion or "none"}
        tags |= {f"best.{key}": value for key, value in best.overrides.items() if key in sweep.plan.swept}
        tags["mlflow.note.content"] = _note(sweep, comparison, best)
        run.set_tags(tags)
    run.log_artifacts(RESULTS / sweep.plan.name, "sweep")


def _note(sweep: OpenSweep, comparison: pd.DataFrame, best: Trial) -> str:
    """What MLflow's page of the run shows at its top."""
    shown = tables.shown(comparison.head(20), sweep.plan.swept, sweep.plan.objective)
    text = f"Best: [{best.name}](#/experiments/{_experiment(sweep)}/runs/{best.run_id}), `dvc exp apply {best.name}`\n\n"
    return (text + html.escape(tables.markdown(shown), quote=False))[:7900]


def _experiment(sweep: OpenSweep) -> str:
    from pipeline.tracking.store import open_client

    return open_client().get_run(sweep.run_id).info.experiment_id


def _command(sweep: OpenSweep) -> str:
    return " ".join(["python -m commands.sweep", *(f"{key}={value}" for key, value in sweep.plan.overrides.items())])


def _tell(sweep: OpenSweep, comparison: pd.DataFrame, best: Trial | None, champion: str | None, folder: Path) -> None:
    columns = ["#", *sweep.plan.swept, "validation top-1", "test top-1 *", "GFLOPs a clip", "latency (ms)", "trial ended"]
    shown = tables.shown(comparison, sweep.plan.swept, sweep.plan.objective)
    extra = [name for name in shown if name.startswith("validation ") and name not in columns]
    say(shown[[*columns[:-4], *extra, *columns[-4:]]].to_string(index=False, max_colwidth=60))
    say("* not used to choose")
    if best is not None:
        say(f"best by validation {sweep.plan.objective}: {best.name} ({best.objective:.4f}), MLflow run {best.run_id}")
        say(f"to have its model, results and parameters here: dvc exp apply {best.name}")
        none = "no model version is registered for it (tracking.register_model is off, or it was trained on another MLflow)"
        say(f"champion: {champion}" if champion else none)
    print(folder / "index.html")
