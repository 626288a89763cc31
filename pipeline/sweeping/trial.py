"""Runs one trial: trains its top in this process if trials share their backbone, else runs a DVC experiment.

Hydra's launchers call `run_trial`, possibly in another process or on another machine. Its inputs are the configuration and the
environment (`plan.Sweep`). A trial that fails is recorded and raises no exception, so that other trials continue.
"""

import io
import os
import threading
import time
import traceback
from functools import cache
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.artifacts import CLASSIFIER, HISTORY, METRICS, RUN, TRAINING_RUN, ClassifierDescription, Metrics, RunRecord
from pipeline.console import UserError
from pipeline.params import Params, parse_params
from pipeline.processes import identity, is_running
from pipeline.revisions import open_files, params_text
from pipeline.sweeping import costs, experiments
from pipeline.sweeping.guard import POLL
from pipeline.sweeping.identity import code_state, files_state, stage_keys, trial_name
from pipeline.sweeping.plan import Sweep, pipeline_content, pipeline_overrides, to_minimise
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.stage_locks import STAGE_LOCKS, StageLocks
from pipeline.sweeping.tops import open_features, share_backbone, train_and_evaluate


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
    params = parse_params(content, "the trial's parameters")

    def on_stage(stage: str) -> None:
        trial.stage = stage
        records.write(trial)

    began = time.monotonic()
    commit = experiments.find_experiment(trial.name)
    if commit is None:
        trial.commit = None  # an experiment that was removed since
    in_process = params.finetune.frozen and share_backbone(sweep.swept)
    if commit is None and in_process:
        if trial.metrics is None:
            features = open_features(content, state, sweep, on_stage)
            began = time.monotonic()
            on_stage("training")
            train_and_evaluate(trial, params, features, sweep, records.log(trial.name))
            trial.seconds = round(time.monotonic() - began, 1)
    elif commit is None:
        locks = StageLocks(STAGE_LOCKS, stage_keys(content, state))
        commit = experiments.run_experiment(trial.name, trial.overrides, sweep, locks=locks, on_stage=on_stage)
        trial.seconds = round(time.monotonic() - began, 1)
    if commit is not None and trial.commit != commit:
        read_experiment(trial, commit)
    record_result(trial, params, sweep)


def read_experiment(trial: Trial, commit: str) -> None:
    """Completes a trial's record from its experiment."""
    files = open_files(commit)
    trial.metrics = Metrics.from_text(files.read_text(str(METRICS)), METRICS)
    trial.model_run_id, trial.evaluated_run_id = (
        RunRecord.from_text(files.read_text(str(path)), path).run_id for path in (TRAINING_RUN, RUN)
    )
    path = CLASSIFIER / "classifier.json"
    trial.network = costs.network_key(ClassifierDescription.from_text(files.read_text(str(path)), path))
    history = pd.read_csv(io.StringIO(files.read_text(str(HISTORY))))
    trial.step_ms = costs.step_ms(history, params_of(commit).finetune.batch_size)
    trial.commit = commit


def params_of(commit: str) -> Params:
    """The parameters of an experiment."""
    return parse_params(yaml.safe_load(params_text(commit)), f"params.yaml of {commit[:7]}")


def record_result(trial: Trial, params: Params, sweep: Sweep) -> None:
    """Puts a trial that has its metrics under the sweep's MLflow run. Raises UserError if there are none of validation."""
    from pipeline.tracking.sweeps import nest_trial

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
