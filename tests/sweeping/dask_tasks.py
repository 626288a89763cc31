"""A small Hydra application, whose jobs a test cluster runs: `python -m tests.sweeping.dask_tasks FOLDER OVERRIDE...`."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn

from pipeline.sweeping.plan import SWEEP_VARIABLE

ROOT = Path(__file__).parent.parent.parent


def task(config) -> float:
    """Notes where it runs in <sweep folder>/<seed>.<process>; then does what the seed says."""
    folder = Path(HydraConfig.get().sweep.dir)
    seed, number = config.seed, HydraConfig.get().job.num
    note = {
        "process": os.getpid(),
        "worker": os.getppid(),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "folder": str(Path.cwd()),
        "variables": {name: os.environ.get(name) for name in (SWEEP_VARIABLE, "DVC_ROOT")},
        "number": number,
    }
    first = not list(folder.glob(f"{seed}.*"))
    (folder / f"{seed}.part").write_text(json.dumps(note))
    (folder / f"{seed}.part").rename(folder / f"{seed}.{os.getpid()}")
    if seed == 100 and first:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if seed == 101:
        raise ValueError("broken here")
    if seed == 102:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 103:
        time.sleep(300)
    time.sleep(3 if seed == 1 else 0)
    return seed / 2


def notes(folder: Path, seed: int) -> list[dict]:
    """What the jobs of this seed noted, the first one first."""
    paths = sorted(folder.glob(f"{seed}.[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


def sweep(folder: Path, *overrides: str) -> list[JobReturn]:
    """The pipeline's configuration, swept by Hydra's basic sweeper but with `task` in place of a trial."""
    folder.mkdir(exist_ok=True)
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("task", create_config_search_path(str(ROOT / "conf")))
    mine = ["hydra/launcher=dask", f"hydra.sweep.dir={folder}", "hydra.job.chdir=false", "hydra.output_subdir=null"]
    quiet = ["hydra/hydra_logging=none", "hydra/job_logging=none"]
    try:
        returns = hydra.multirun("config", task, [*mine, *quiet, *overrides])
    finally:
        GlobalHydra.instance().clear()
    return [one for batch in returns or [] for one in batch]  # Optuna's sweeper returns none


if __name__ == "__main__":
    sweep(Path(sys.argv[1]), *sys.argv[2:])
