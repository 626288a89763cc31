"""The child processes in which the two ways run, so that neither's settings, caches or memory touch the other's."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import psutil

from pipeline.console import UserError, quiet_libraries, without_chatter

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
        return self._pool.submit(_quietly, work, *arguments)

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
        try:
            self._pool.submit(_end_decoders).result()
        except BrokenProcessPool:  # it has ended already, and whoever waited for its work was told
            pass
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
            result = self.run(work, *arguments)
        finally:
            done.set()
            watcher.join()
        return result, peak[0]


def _quietly(work: Callable, *arguments) -> Any:
    with without_chatter():
        return work(*arguments)


def _end_decoders() -> None:
    """Ends the decoding processes that joblib keeps for five minutes, and for which the process would wait."""
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(reuse=True).shutdown(wait=True)


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
