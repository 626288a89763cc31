"""The beginning of a sweep, which Hydra calls once the configuration is composed and before any trial starts.

Invariants: one sweep of a name runs at a time; started again with the same command on the same code it continues under the same
MLflow run; and no trial starts while one that a killed start left is still ending.
"""

import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pipeline.console import UserError, progress, say, without_credentials
from pipeline.files import content_key
from pipeline.params import Params, parse_params
from pipeline.processes import identity
from pipeline.sweeping import workspace
from pipeline.sweeping.experiments import require_repository
from pipeline.sweeping.guard import await_guard
from pipeline.sweeping.identity import code_state
from pipeline.sweeping.plan import SWEEP_VARIABLE, Plan, Sweep, check_values, pipeline_content, read_plan
from pipeline.sweeping.records import Records

LOGS = Path("logs/sweeps")
REFRESH = 2.0  # seconds between two updates of the progress bar


@dataclass
class OpenSweep:
    """A sweep that has begun. `command`: as it was given. `resources`: its progress bar and its lock."""

    plan: Plan
    params: Params
    run_id: str
    records: Records
    command: str
    resources: ExitStack = field(repr=False)


class Unusable(BaseException):
    """Why a sweep does not start. Hydra makes warnings of the exceptions of callbacks, but not of this one."""


opened: OpenSweep | None = None  # of this process; Hydra's callbacks return nothing


class StartSweep(Callback):
    """Named in conf/sweep.yaml."""

    def on_multirun_start(self, config: DictConfig, **others: Any) -> None:
        global opened
        try:
            opened = open_sweep(config)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            raise Unusable(error) from error


def open_sweep(config: DictConfig) -> OpenSweep:
    """Checks the sweep, takes its lock, opens its MLflow run, and describes it to the trials' processes."""
    from pipeline.tracking import sweeps

    require_repository()
    plan = read_plan(config)
    params = parse_params(pipeline_content(config), "the configuration")
    hydra = GlobalHydra.instance().hydra
    check_values(plan, lambda overrides: hydra.compose_config("config", overrides, run_mode=RunMode.RUN))
    folder = (LOGS / plan.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    resources = ExitStack()
    try:
        resources.enter_context(FileLock(folder / "sweep.lock", timeout=0))
    except Timeout:
        advice = "wait for it, or give this one another sweep.name"
        raise UserError(f"the sweep {plan.name} is running already", advice=advice) from None
    for lock in sorted(folder.glob("*.guard")):
        await_guard(lock)
    workspace.repair()
    values = {"sweep.objective": f"validation {plan.objective}", "sweep.sweeper": plan.sweeper.get("_target_", "")}
    values |= {f"sweep.{name}": value for name, value in plan.overrides.items()}
    values |= {} if plan.trials is None else {"sweep.trials": str(plan.trials)}
    run = sweeps.open_sweep(params, plan.name, content_key(plan, code_state()), {"sweep.name": plan.name}, values)
    verb = "continues" if run.origin == "continued" else "starts"
    where = f"experiment {run.experiment} at {without_credentials(run.tracking_uri)}"
    say(f"sweep {plan.name} {verb}: MLflow run {run.run_id} of {where}")
    say(f"each trial's log is in {os.path.relpath(folder)}")
    sweep = Sweep(
        name=plan.name,
        objective=plan.objective,
        swept=plan.swept,
        folder=str(folder),
        process=identity(),
        run_id=run.run_id,
    )
    os.environ[SWEEP_VARIABLE] = sweep.model_dump_json()
    records = Records(folder, sweep.process)
    if "optuna" in plan.sweeper.get("_target_", ""):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    resources.enter_context(show_progress(records, plan.trials))
    arguments = [argument for argument in sys.argv[1:] if argument != "--multirun"]
    return OpenSweep(plan, params, run.run_id, records, shlex.join(["python", "-m", "commands.sweep", *arguments]), resources)


@contextmanager
def show_progress(records: Records, total: int | None) -> Iterator[None]:
    """Shows a bar while launchers run trials: the number that has ended, the stages of the others, and the time left."""
    done = threading.Event()
    with progress(total=total, describe="sweep", unit="trial", smoothing=0, miniters=0) as bar:

        def watch() -> None:
            last = False
            while not last:
                last = done.wait(REFRESH)
                trials = records.trials()
                running = [f"#{trial.jobs[0]} {trial.stage or 'checking'}" for trial in trials if trial.status == "running"]
                failed = sum(trial.status == "failed" for trial in trials)
                texts = running + ([f"{failed} failed"] if failed else [])
                bar.set_postfix_str(", ".join(texts)[:120], refresh=False)
                bar.update(sum(len(trial.jobs) for trial in trials if trial.status != "running") - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
