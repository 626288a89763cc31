"""One trial: a DVC experiment, found again or run, and its place under the sweep's MLflow run.

Hydra's launchers call `run_trial`, here, in another process or on another machine; it takes what it needs from the configuration
and from the sweep's state file. A trial that fails is noted and never raises, so that it takes no other with it.
"""

import functools
import os
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.artifacts import RUN, TRAINING_RUN
from pipeline.console import UserError
from pipeline.files import read_json
from pipeline.params import Params, parse_params
from pipeline.processes import identity, is_running
from pipeline.sweeping import experiments, workspace
from pipeline.sweeping.guard import LOOK
from pipeline.sweeping.identity import code_state, data_state, stage_keys, trial_name
from pipeline.sweeping.records import Records, Trial
from pipeline.sweeping.settings import pipeline_content, pipeline_overrides, to_minimise
from pipeline.sweeping.stage_locks import StageLocks

STATE_VARIABLE = "MOVINET_SWEEP"  # names the sweep's state file to the processes of its launcher
PROCESS_VARIABLE = "MOVINET_SWEEP_PROCESS"  # identity (see pipeline.processes) of the sweep
STATE_FILE = "sweep.json"
STAGE_LOCKS = Path(".cache/sweeps/stage_locks")


def run_trial(config: DictConfig) -> float | None:
    """Runs the trial that a job's configuration describes; returns what a sweeper minimises, None where the trial failed."""
    if STATE_VARIABLE not in os.environ:
        raise UserError("trials are run by `python -m commands.sweep`", advice="leave hydra.mode as it is")
    _watch_the_sweep()
    state_file = Path(os.environ[STATE_VARIABLE])
    state, records = read_json(state_file), Records(state_file.parent)
    job = HydraConfig.get()
    overrides = pipeline_overrides(list(job.overrides.task))
    for key, value in overrides.items():
        if value == "null" and OmegaConf.select(config, key) == "None":
            OmegaConf.update(config, key, None)
    content = pipeline_content(config)
    identity = [*code_state(), *data_state(content)]
    name = trial_name(state["name"], state["swept"], overrides, identity, content)
    trial = Trial(name, int(job.job.num), overrides)
    with FileLock(records.folder / f"{name}.lock"):  # two jobs may be the same trial
        known = records.find(name)
        records.write(trial)
        try:
            params = parse_params(content, "the trial's parameters")
            _run(trial, known, params, identity, content, state, records)
        except (UserError, experiments.TrialError) as error:
            trial.status, trial.error = "failed", str(error)
        except Exception as error:  # a defect of ours or of a library; the other trials are none the worse for it
            trial.status, trial.error = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            with open(records.log(name), "a", encoding="utf-8") as file:
                file.write(traceback.format_exc())
        _end_with_the_sweep()
        records.write(trial)
    return None if trial.status == "failed" else to_minimise(state["objective"], trial.objective)


def _run(
    trial: Trial,
    known: Trial | None,
    params: Params,
    identity: list,
    content: dict[str, Any],
    state: dict,
    records: Records,
) -> None:
    """Fills the record of a trial that succeeds; raises TrialError or UserError where it does not.

    known: what an earlier start of the sweep wrote of it.
    """
    from pipeline.tracking.sweeps import is_restored, nest_trial

    commit = experiments.find_experiment(trial.name)
    trial.found = commit is not None
    if commit is None:
        locks = StageLocks(STAGE_LOCKS, stage_keys(content, identity))
        began = time.monotonic()

        def before() -> None:
            trial.stage = "waiting"
            records.write(trial)
            locks.wait()
            workspace.note()
            trial.stage = "starting"
            records.write(trial)

        def on_stage(stage: str) -> None:
            workspace.forget() if locks.start.is_locked else None
            locks.entered(stage)
            trial.stage = stage
            records.write(trial)

        def on_end(success: bool) -> None:
            workspace.forget() if locks.start.is_locked else None
            locks.end(success)

        commit = experiments.run_experiment(
            trial.name,
            trial.overrides,
            log=records.log(trial.name),
            lock=records.folder / f"{trial.name}.guard",
            watch=os.environ[PROCESS_VARIABLE],
            parent=state["run_id"],
            before=before,
            on_stage=on_stage,
            on_end=on_end,
        )
        trial.seconds = round(time.monotonic() - began, 1)
    trial.commit, trial.metrics = commit, experiments.read_metrics(commit)
    trial.objective = float(trial.metrics["validation"][state["objective"]])
    if known is not None and known.commit == commit and known.evaluated_run_id is not None:
        trial.model_run_id, trial.evaluated_run_id, trial.seconds = known.model_run_id, known.evaluated_run_id, known.seconds
    else:
        files = experiments.open_files(commit)
        trial.model_run_id = experiments.read_run_id(files, str(TRAINING_RUN))
        trial.evaluated_run_id = experiments.read_run_id(files, str(RUN))
    computed, varied = trial.evaluated_run_id, {key: trial.overrides[key] for key in state["swept"] if key in trial.overrides}
    run = nest_trial(state["run_id"], trial.name, computed, params, trial.metrics, varied, trial.objective)
    trial.run_id, trial.origin = run.run_id, "restored" if is_restored(run) else "computed"
    trial.status, trial.stage = "finished", ""


def _end_with_the_sweep() -> None:
    """Ends a launcher's process at once whose sweep was killed, so that it leaves no mark on the next one."""
    if is_running(os.environ[PROCESS_VARIABLE]) is False:  # None: it is on another machine
        os._exit(1)


@functools.cache
def _watch_the_sweep() -> None:
    """In a launcher's process: from now on looks whether the sweep is alive, also while it has no trial to run."""

    def watch() -> None:
        while True:
            _end_with_the_sweep()
            time.sleep(LOOK)

    sweep = os.environ[PROCESS_VARIABLE]
    if sweep != identity() and is_running(sweep) is not None:
        threading.Thread(target=watch, daemon=True).start()
