"""How all benchmarks time: what is compared alternates, round after round.

So whatever else the machine does slows all of it alike, and a ratio is of two times of the same round.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from pipeline.console import progress, say

Way = TypeVar("Way")
Result = TypeVar("Result")

SHORTEST = 0.3  # seconds; a quicker call is repeated for as long, and the mean is one measurement


class Spread(NamedTuple):
    """What several measurements say together."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest. Raises ValueError without values."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The ratio of each round, above / below."""
    return spread([one / other for one, other in zip(above, below, strict=True)])


def seconds_a_call(call: Callable[[], object]) -> float:
    """Mean seconds of a call, repeated until SHORTEST is over."""
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= SHORTEST:
            return passed / calls


def alternate(
    ways: Mapping[Way, Callable[[], Result]],
    rounds: int,
    *,
    describe: str,
    seconds: float = math.inf,
    warm_up: bool = True,
) -> tuple[dict[Way, list[Result]], dict[Way, float]]:
    """Calls all ways in each of the rounds, one after the other.

    Args:
      seconds: no round begins after these; the first always does.
      warm_up: call each way once before, which is not counted: it builds, compiles and fills caches.

    Returns:
      What the calls of the rounds gave, by way; and the seconds of each way's warm-up.
    """
    first: dict[Way, float] = {}
    if warm_up:
        say(f"{describe}: warming up")
        for way, call in ways.items():
            start = time.perf_counter()
            call()
            first[way] = time.perf_counter() - start
    results: dict[Way, list[Result]] = {way: [] for way in ways}
    start = time.perf_counter()
    with progress(total=rounds, describe=describe, unit="round") as bar:
        for number in range(rounds):
            if number and time.perf_counter() - start > seconds:
                break
            for way, call in ways.items():
                results[way].append(call())
            bar.update()
    return results, first
