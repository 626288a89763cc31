"""Runs the jobs of a Hydra application on a Dask cluster, each in a separate process that a worker starts and supervises.

Separate processes, because Hydra's state is global to a process while Dask runs calls in threads, and because a job may end its
process, which must not end the worker.

Invariants: results are in the order of the jobs. A job that fails, or whose process dies, does not affect other jobs. A job whose
worker is lost runs again on another worker. The jobs of a killed sweep or a lost worker are terminated, on every machine.
"""

import functools
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_joblib_launcher._core import execute_job
from omegaconf import DictConfig, OmegaConf

from pipeline.cluster import Call, open_cluster
from pipeline.console import UserError, run_command, say
from pipeline.files import atomic_file
from pipeline.settings import Cluster
from pipeline.sweeping.guard import GRACE, POLL
from pipeline.sweeping.plan import SWEEP_VARIABLE

if TYPE_CHECKING:
    from distributed import Worker

# These variables are copied from the sweep's environment. All others, such as credentials, come from the worker's environment.
CARRIED = (SWEEP_VARIABLE, "MLFLOW_TRACKING_URI", "DVC_ROOT")
JOB, RESULT = "job", "result"  # files for a job's process: a pickled function, and its pickled result


def launch(
    address: str | None,
    n_jobs: int,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    job_overrides: list[list[str]],
    first: int,
) -> list[JobReturn]:
    """Runs the jobs, numbered from `first`, on the cluster at `address` or on a new one of `n_jobs` workers on this machine.

    If the cluster cannot be used or is lost, the process exits with a one-line error; Hydra would print a traceback.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    state, folder = Singleton.get_state(), str(Path.cwd())
    variables = {name: os.environ.get(name) for name in CARRIED}

    def calls() -> Iterator[Call]:
        for number, overrides in enumerate(job_overrides, first):
            job = functools.partial(execute_job, number, overrides, hydra_context, config, task_function, state)
            yield Call((cloudpickle.dumps(job), variables, folder), 0, f"trial #{number}")

    returns = []
    try:
        with open_cluster(_cluster(address, n_jobs, config)) as workers:
            results = workers.in_order(_run_on_worker, calls(), ahead=len(job_overrides))
            for number, (overrides, result) in enumerate(zip(job_overrides, results, strict=True), first):
                returns.append(_returned(number, overrides, *result))
    except UserError as error:
        say(f"error: {error}")
        sys.exit(1)
    return returns


def _cluster(address: str | None, n_jobs: int, config: DictConfig) -> Cluster:
    """Raises UserError for settings with which trials would wait forever."""
    if n_jobs != -1 and n_jobs < 1:
        raise UserError(f"hydra.launcher.n_jobs = {n_jobs}: must be 1 or more, or -1 for one per core")
    if address is not None and address == OmegaConf.select(config, "cluster.address"):
        raise UserError(
            f"cluster.address = {address}: trials may occupy every worker there, and decoding would then wait forever",
            advice="keep cluster=local, or start a second scheduler",
        )
    return Cluster(engine="dask", address=address, workers=None if address is not None or n_jobs == -1 else n_jobs)


def _returned(number: int, overrides: list[str], host: str, status: int, result: bytes) -> JobReturn:
    if status == 0:
        return cloudpickle.loads(result)
    lost = JobReturn(overrides=overrides, status=JobStatus.FAILED)
    lost.return_value = CompactHydraException(f"trial #{number}: its process on {host} ended with status {status}")
    return lost


def _run_on_worker(job: bytes, variables: dict[str, str | None], folder: str) -> tuple[str, int, bytes]:
    """Runs on a worker: starts the job's process; returns the host, the process's exit status and the pickled result."""
    from distributed import Reschedule, get_worker

    worker: Any = get_worker()
    task = worker.get_current_task()
    if not Path(folder).is_dir():
        message = f"a worker on {platform.node()} does not see {folder}"
        raise UserError(message, advice="workers need this folder under the same path")
    environment = {name: value for name, value in (os.environ | variables).items() if value is not None}
    with TemporaryDirectory() as exchange:
        (Path(exchange) / JOB).write_bytes(job)
        command = [sys.executable, "-m", "pipeline.sweeping.dask_launcher", exchange, str(os.getpid())]
        # In a new session, so that a Ctrl-C at the worker does not reach the job.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        while _is_wanted(worker, task):
            try:
                status = process.wait(POLL)
            except subprocess.TimeoutExpired:
                continue
            return platform.node(), status, (Path(exchange) / RESULT).read_bytes() if status == 0 else b""
        process.terminate()
        try:
            process.wait(GRACE + 5)  # the guard gives the stages GRACE seconds to save their checkpoints
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    raise Reschedule()  # on another worker if this one is closing; Dask drops a cancelled job


def _is_wanted(worker: "Worker", task: str) -> bool:
    """Whether the job should continue: not if Dask cancelled it, because its client disconnected, or if the worker is closing."""
    from distributed.core import Status

    known, leaving = worker.state.tasks.get(task), (Status.closing, Status.closed, Status.failed)
    return known is not None and known.state != "cancelled" and worker.status not in leaving


def main() -> None:
    """Runs the job in a folder, in a separate process that ends with the worker."""
    folder, worker = Path(sys.argv[1]), int(sys.argv[2])

    def exit_with_worker() -> None:
        while os.getppid() == worker:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=exit_with_worker, daemon=True).start()
    result = cloudpickle.loads((folder / JOB).read_bytes())()
    with atomic_file(folder / RESULT) as part:
        part.write_bytes(cloudpickle.dumps(result))


if __name__ == "__main__":
    run_command(main)
