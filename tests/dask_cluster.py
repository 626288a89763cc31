"""A Dask scheduler and two single-threaded workers, as separate processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port


@contextmanager
def dask_cluster(folder: Path, **variables: str) -> Iterator[str]:
    """The scheduler's address. The workers run in `folder`, under a nanny, which restarts a killed one."""
    dropped = ("PYTHONPATH", "MLFLOW", "MOVINET")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)} | variables
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["-m", "distributed.cli.dask_worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    started = [subprocess.Popen([sys.executable, *scheduler], cwd="/", **quiet)]  # where this code cannot be imported
    started.append(subprocess.Popen([sys.executable, *worker], cwd=folder, **quiet))
    try:
        yield address
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGINT)
            process.wait(60)
