"""`make ui`: MLflow's web interface on the runs of this repository."""

import argparse
import os
import sys

from pipeline import tracking
from pipeline.console import run_command, say, without_credentials


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m commands.ui", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args()
    uri = tracking.configure()
    if uri.startswith(("http:", "https:")):
        say(f"the runs are tracked by a server: {without_credentials(uri)}")
        return
    say(f"MLflow at http://{options.host}:{options.port} (stop with Ctrl-C)")
    arguments = ["-m", "mlflow", "ui", "--host", options.host, "--port", str(options.port)]
    # In the environment, because all users of the machine can read arguments, and the URI of a database may hold a password.
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | {"MLFLOW_BACKEND_STORE_URI": uri})


if __name__ == "__main__":
    run_command(main)
