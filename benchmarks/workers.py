"""Child processes in which measured work runs, so that the settings, caches and memory of one do not touch another's."""

import functools
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

import psutil
from tqdm import tqdm

from pipeline.console import UserError, quiet_libraries, without_chatter

SAMPLING = 0.1  # seconds between two readings of the memory


class ChildProcess:
    """It runs calls one after the other until its `with` block ends."""

    def __init__(self, name: str):
        """name: of what it measures, for messages."""
        self.name = name
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare_process)
        self._process = psutil.Process(self.run(os.getpid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._pool.submit(_end_decoders).result()
        except BrokenProcessPool:  # it has ended already, and `run` has said so
            pass
        self._pool.shutdown()

    def run(self, work: Callable, *arguments) -> Any:
        """Returns what the call returns; raises what it raises, or UserError where the process was killed."""
        return self._result(self._pool.submit(_run_quietly, work, *arguments))

    def run_watched(self, work: Callable, *arguments) -> tuple[Any, int]:
        """The same, and the largest memory in bytes that the process and its children held together meanwhile."""
        future = self._pool.submit(_run_quietly, work, *arguments)
        peak = _resident(self._process)
        while not wait([future], SAMPLING).done:
            peak = max(peak, _resident(self._process))
        return self._result(future), peak

    def _result(self, future: Future) -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            raise UserError(
                f"the process that measures {self.name} was killed, most likely for want of memory",
                advice="leave out the largest models (--models) or close other programs",
            ) from None


def _prepare_process() -> None:
    quiet_libraries()
    tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # the stages' bars would mix with the benchmark's


def _run_quietly(work: Callable, *arguments) -> Any:
    with without_chatter():
        return work(*arguments)


def _end_decoders() -> None:
    """Ends the decoding processes that joblib keeps for five minutes, and for which the process would wait."""
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor(reuse=True).shutdown(wait=True)


def _resident(process: psutil.Process) -> int:
    """Bytes in memory of a process and its children; 0 for those that have just ended."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total
