"""`make ui`: MLflow's web interface on the runs of this repository, with the address of each experiment's table of runs.

Results that DVC restored from its cache, and whose run is not on this store, first get a run.
"""

import argparse
import os
import sys

from pipeline import tracking
from pipeline.console import run_command, say, without_credentials
from pipeline.tracking.restored import find_cached_results, log_missing
from pipeline.tracking.store import require_runs
from pipeline.tracking.views import add_view, experiments_address, latest_experiments, runs_address

SHOWN = 5  # experiments whose address is printed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.ui", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args()
    restored = find_cached_results()
    if not restored:
        require_runs()
    uri = tracking.configure()
    if restored:
        log_missing(restored)
    if uri.startswith(("http:", "https:")):
        say(f"the runs are tracked by a server: {experiments_address(without_credentials(uri))}")
        return
    server = f"http://{options.host}:{options.port}"
    say(f"MLflow at {experiments_address(server)} (stop with Ctrl-C)")
    client = tracking.open_client()
    for experiment in latest_experiments(client, SHOWN):
        add_view(client, experiment)
        say(f"runs of {experiment.name}: {runs_address(server, experiment)}")
    # One worker answers one person; four, the default, take three times as long to start.
    arguments = ["-m", "mlflow", "ui", "--host", options.host, "--port", str(options.port), "--workers", "1"]
    # In the environment, because all users of the machine can read arguments, and the URI of a database may hold a password.
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | {"MLFLOW_BACKEND_STORE_URI": uri})


if __name__ == "__main__":
    run_command(main)
