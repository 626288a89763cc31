"""The beginning of a sweep, which Hydra calls once the configuration is composed and before any trial starts.

Invariants: one sweep of a name runs at a time; started again with the same command on the same code it goes on under the
same MLflow run; and no trial starts while one that an earlier, killed start left is still ending.
"""

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from pipeline.console import UserError, say
from pipeline.files import content_key, write_json
from pipeline.params import Params, parse_params
from pipeline.processes import identity
from pipeline.sweeping import workspace
from pipeline.sweeping.bar import sweep_bar
from pipeline.sweeping.experiments import require_repository
from pipeline.sweeping.guard import await_guard
from pipeline.sweeping.identity import code_state
from pipeline.sweeping.records import Records
from pipeline.sweeping.settings import Plan, pipeline_content, read_plan
from pipeline.sweeping.trial import PROCESS_VARIABLE, STATE_FILE, STATE_VARIABLE

LOGS = Path("logs/sweeps")


@dataclass
class OpenSweep:
    """A sweep that has begun. `showing` holds its bar and its lock."""

    plan: Plan
    params: Params
    run_id: str
    records: Records
    showing: ExitStack = field(repr=False)


opened: OpenSweep | None = None  # of this process; Hydra's callbacks return nothing


class StartSweep(Callback):
    """Named in conf/sweep.yaml."""

    def on_multirun_start(self, config: DictConfig, **others: Any) -> None:
        global opened
        try:
            opened = open_sweep(config)
        except UserError as error:
            sys.exit(f"error: {error}")  # Hydra turns what callbacks raise into warnings, but not this


def open_sweep(config: DictConfig) -> OpenSweep:
    """Checks the sweep, takes its lock, opens its MLflow run, and tells the trials' processes where its state file is."""
    from pipeline.tracking import sweeps

    require_repository()
    plan = read_plan(config)
    params = parse_params(pipeline_content(config), "the configuration")
    records = Records((LOGS / plan.name).resolve())
    records.folder.mkdir(parents=True, exist_ok=True)
    showing = ExitStack()
    try:
        showing.enter_context(FileLock(records.folder / "sweep.lock", timeout=0))
    except Timeout:
        advice = "wait for it, or give this one another sweep.name"
        raise UserError(f"the sweep {plan.name} is running already", advice=advice) from None
    for lock in sorted(records.folder.glob("*.guard")):
        await_guard(lock)
    workspace.repair()
    state = code_state()
    key = content_key(plan, state)
    values = {"sweep.objective": f"validation {plan.objective}", "sweep.sweeper": plan.sweeper.get("_target_", "")}
    values |= {f"sweep.{name}": value for name, value in plan.overrides.items()}
    values |= {} if plan.trials is None else {"sweep.trials": str(plan.trials)}
    run = sweeps.open_sweep(params, plan.name, key, {"sweep.name": plan.name}, values)
    again = " goes on" if run.origin == "continued" else ""
    say(f"sweep {plan.name}{again}: MLflow run {run.run_id} of experiment {run.experiment} at {sweeps.shown_uri()}")
    records.clear_jobs()
    write_json(
        records.folder / STATE_FILE,
        {
            "name": plan.name,
            "key": key,
            "objective": plan.objective,
            "swept": plan.swept,
            "run_id": run.run_id,
        },
    )
    os.environ[STATE_VARIABLE] = str(records.folder / STATE_FILE)
    os.environ[PROCESS_VARIABLE] = identity()
    say(f"each trial's log is in {os.path.relpath(records.folder)}")
    if "optuna" in plan.sweeper.get("_target_", ""):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    showing.enter_context(sweep_bar(records, plan.trials))
    return OpenSweep(plan, params, run.run_id, records, showing)
