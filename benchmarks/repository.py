"""A clone of this repository in which a benchmark runs DVC and the stages."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.files import repository_root


def clone_repository(target: Path) -> Path:
    """Clones the committed code to `target`, which it returns."""
    subprocess.run(["git", "clone", "-q", "--shared", str(repository_root()), str(target)], check=True)
    return target


def clone_environment() -> dict[str, str]:
    """The environment of processes in a clone: this interpreter's programs come first, and no variable names another store."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return {name: value for name, value in environment.items() if name != "DVC_ROOT" and not name.startswith("MLFLOW_")}
