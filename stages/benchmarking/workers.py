"""The child processes in which the two ways run, so that neither's settings, caches or memory touch the other's."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import psutil

from stages.console import UserError, quiet_libraries

SAMPLING = 0.1  # seconds between two looks at the memory


class Side:
    """A process that lives until it is closed, and does what it is told, one thing after the other."""

    def __init__(self, name: str):
        self.name = name
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=quiet_libraries)
        # Read when the child imports tqdm: the stages' own bars would mix with the benchmark's.
        before = os.environ.get("TQDM_DISABLE")
        os.environ["TQDM_DISABLE"] = "1"
        try:
            self._pid: Future = self._pool.submit(os.getpid)
        finally:
            if before is None:
                del os.environ["TQDM_DISABLE"]
            else:
                os.environ["TQDM_DISABLE"] = before

    def start(self, work: Callable, *arguments) -> Future:
        return self._pool.submit(work, *arguments)

    def result(self, future: Future) -> Any:
        """What the work gave; raises what it raised, or UserError where the process was killed."""
        try:
            return future.result()
        except BrokenProcessPool:
            raise UserError(
                f"the process that measures {self.name} was killed, most likely for want of memory; leave out the largest "
                "models (--models) or close other programs"
            ) from None

    def run(self, work: Callable, *arguments) -> Any:
        return self.result(self.start(work, *arguments))

    def close(self) -> None:
        self._pool.shutdown()

    def run_watched(self, work: Callable, *arguments) -> tuple[Any, int]:
        """What the work gave, and the largest memory in bytes that the process and its children held together meanwhile."""
        process = psutil.Process(self.result(self._pid))
        peak, done = [0], threading.Event()

        def watch() -> None:
            while True:
                peak[0] = max(peak[0], _resident(process))
                if done.wait(SAMPLING):
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return self.run(work, *arguments), peak[0]
        finally:
            done.set()
            watcher.join()


def _resident(process: psutil.Process) -> int:
    total = 0
    for one in [process, *_children(process)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it ended since it was listed
            continue
    return total


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def both(plain: tuple, ours: tuple) -> tuple[Any, Any]:
    """What (side, work, *arguments) gives on each side, both at once: for what is not measured."""
    started = [(side, side.start(work, *arguments)) for side, work, *arguments in (plain, ours)]
    one, other = (side.result(future) for side, future in started)
    return one, other


@contextmanager
def two_sides() -> Iterator[tuple[Side, Side]]:
    """The plain way's process and ours."""
    plain, ours = Side("the plain way"), Side("this pipeline")
    try:
        yield plain, ours
    finally:
        plain.close()
        ours.close()


@contextmanager
def one_side(name: str) -> Iterator[Side]:
    side = Side(name)
    try:
        yield side
    finally:
        side.close()
