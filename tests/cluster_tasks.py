"""Functions that the workers of a test cluster run; they import them by name."""

import os
import signal
from collections.abc import Callable
from pathlib import Path


def square(number: int) -> int:
    return number * number


def die_once(marker: str, number: int) -> int:
    """Kills the worker that runs it the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(message: str) -> None:
    raise ValueError(message)


def open_saved(folder: Path, threads: int) -> Callable:
    """A SavedModel with the function `features`, in TensorFlow."""
    from pipeline.engines.engine import NetworkFiles, TensorflowNetwork

    return TensorflowNetwork(NetworkFiles("test", folder, lambda loaded: loaded.features, None), 3, threads)
