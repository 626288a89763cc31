"""One job of a Hydra application, in a process that a Dask worker starts: `python -m pipeline.sweeping.job FOLDER PARENT`.

Invariants: it ends when the worker does, so that a job that Dask gives to another worker is not run twice at a time.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from pipeline.console import run_command
from pipeline.files import atomic_file
from pipeline.sweeping.guard import LOOK

JOB, RESULT = "job", "result"  # files in FOLDER: a pickled Job, and the pickled JobReturn


class Job(NamedTuple):
    """What Hydra's launchers get, of one job.

    Attributes:
      number: of the job in the whole sweep.
      overrides: its own, as on the command line.
      state: Hydra's singletons in the process that launches.
    """

    number: int
    overrides: list[str]
    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    state: dict[str, Any]


def run(job: Job) -> JobReturn:
    """Composes the job's configuration and calls the task function, as Hydra's joblib launcher does in its processes."""
    setup_globals()
    Singleton.set_state(job.state)
    config = job.hydra_context.config_loader.load_sweep_config(job.config, job.overrides)
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{job.number}"
        config.hydra.job.num = job.number
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=job.hydra_context,
        config=config,
        task_function=job.task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def main() -> None:
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    done = run(cloudpickle.loads((folder / JOB).read_bytes()))
    with atomic_file(folder / RESULT) as part:
        part.write_bytes(cloudpickle.dumps(done))


if __name__ == "__main__":
    run_command(main)
