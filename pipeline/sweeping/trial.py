"""One trial: a DVC experiment, which is run or found, and its MLflow run under the sweep's run.

Hydra's launchers call `run_trial`, possibly in another process or on another machine. Its inputs are the configuration and the
environment (`plan.Sweep`). A trial that fails is recorded and raises no exception, so that other trials continue.
"""

import os
import threading
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.artifacts import RUN, TRAINING_RUN
from pipeline.console import UserError
from pipeline.params import parse_params
from pipeline.processes import identity, is_running
from pipeline.sweeping import experiments
from pipeline.sweeping.guard import POLL
from pipeline.sweeping.identity import code_state, files_state, stage_keys, trial_name
from pipeline.sweeping.plan import Sweep, pipeline_content, pipeline_overrides, to_minimise
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.stage_locks import StageLocks

STAGE_LOCKS = Path(".cache/sweeps/stage_locks")


def run_trial(config: DictConfig) -> float | None:
    """Runs the trial of a job's configuration; returns the value that a sweeper minimises, None if the trial failed."""
    sweep = Sweep.of_environment()
    watch_sweep(sweep.process)
    job = HydraConfig.get()
    overrides = pipeline_overrides(list(job.overrides.task))
    for key, value in overrides.items():
        if value == "null" and OmegaConf.select(config, key) == "None":
            OmegaConf.update(config, key, None)
    content = pipeline_content(config)
    state = [*code_state(), *files_state(content)]
    name = trial_name(sweep.name, sweep.swept, overrides, state, content)
    records = Records(sweep.path, sweep.process)
    with FileLock(sweep.path / f"{name}.lock"):  # two jobs may be the same trial
        trial = records.begin(name, overrides, int(job.job.num))
        records.write(trial)
        try:
            _run(trial, content, state, sweep, records)
            trial.status = "finished"
        except (UserError, experiments.TrialError) as error:
            trial.status, trial.error = "failed", str(error)
        except Exception as error:  # a defect of this code or of a library, which must not affect other trials
            trial.status, trial.error = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            with open(records.log(name), "a", encoding="utf-8") as file:
                file.write(traceback.format_exc())
        _end_if_killed(sweep.process)
        records.write(trial)
    return None if trial.status == "failed" else to_minimise(sweep.objective, trial.objective)


def _run(trial: Trial, content: dict[str, Any], state: list, sweep: Sweep, records: Records) -> None:
    """Runs the trial and completes its record. Raises TrialError or UserError if it fails."""
    from pipeline.tracking.sweeps import nest_trial

    params = parse_params(content, "the trial's parameters")
    commit = experiments.find_experiment(trial.name)
    if commit is None:

        def on_stage(stage: str) -> None:
            trial.stage = stage
            records.write(trial)

        locks, began = StageLocks(STAGE_LOCKS, stage_keys(content, state)), time.monotonic()
        options = {"folder": sweep.path, "sweep": sweep.process, "parent_run": sweep.run_id}
        commit = experiments.run_experiment(trial.name, trial.overrides, locks=locks, on_stage=on_stage, **options)
        trial.seconds = round(time.monotonic() - began, 1)
    if trial.commit != commit:
        files = experiments.open_files(commit)
        trial.metrics = experiments.read_metrics(commit)
        trial.model_run_id = experiments.read_run_id(files, TRAINING_RUN)
        trial.evaluated_run_id = experiments.read_run_id(files, RUN)
        trial.commit = commit
    if trial.metrics.validation is None:
        raise UserError("there are no validation clips to compare trials by", advice="see data.split")
    trial.objective = float(getattr(trial.metrics.validation, sweep.objective))
    varied = {key: trial.overrides[key] for key in sweep.swept if key in trial.overrides}
    trial.run_id, trial.origin = nest_trial(
        sweep.run_id, trial.name, trial.evaluated_run_id, params, trial.metrics, varied, trial.objective
    )


@cache
def watch_sweep(sweep: str) -> None:
    """Ends a launcher's process when the sweep's process ends, even if no trial is running in it."""

    def watch() -> None:
        while True:
            _end_if_killed(sweep)
            time.sleep(POLL)

    if sweep != identity() and is_running(sweep) is not None:
        threading.Thread(target=watch, daemon=True).start()


def _end_if_killed(sweep: str) -> None:
    """Ends this process at once if its sweep was killed, so that it does not interfere with the next sweep."""
    if is_running(sweep) is False:  # None: it is on another machine
        os._exit(1)
