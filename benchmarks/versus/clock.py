"""Processor time, elapsed time and peak memory of this process. Standard library only: two environments import it."""

import resource
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

SHORTEST = 1.0  # seconds; a quicker call is repeated for as long, and the mean is the measurement


class Cost(NamedTuple):
    """Seconds: `cpu` of all threads of this process, user and system; `wall` on the clock."""

    cpu: float
    wall: float


def cost_of(call: Callable[[], object]) -> Cost:
    """The mean of a call, repeated until SHORTEST is over, after one that does not count: it compiles and fills caches."""
    call()
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - wall
        if passed >= SHORTEST:
            return Cost((time.process_time() - cpu) / calls, passed / calls)


def peak_memory() -> int:
    """The largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
