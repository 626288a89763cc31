"""`make ui`: MLflow's web interface on the runs of this repository."""

import argparse
import os
import sys

from stages import tracking
from stages.console import run_command, say


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.ui", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    options = parser.parse_args()
    uri = tracking.configure()
    if uri.startswith(("http:", "https:")):
        say(f"the runs are tracked by a server: {uri}")
        return
    say(f"MLflow at http://{options.host}:{options.port} (stop with Ctrl-C)")
    arguments = ["-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", options.host, "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    run_command(main)
