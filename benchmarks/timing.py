"""Fair timing: both ways in turn, round after round, so that whatever else the machine does falls on both alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

SHORTEST = 0.3  # seconds; a quicker call is repeated until they are over, and its mean is one measurement


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
    """The ratio of each round, above / below: rounds are compared with themselves, as their neighbours may have been slower."""
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
    ways: Sequence[Callable[[], T]], repeats: int, seconds: float, on_round: Callable[[], object] = lambda: None
) -> list[list[T]]:
    """Calls the ways in turn, `repeats` rounds, or fewer where `seconds` are over, but at least one; returns a list for each way.

    on_round: called after each round.
    """
    results: list[list[T]] = [[] for _ in ways]
    start = time.perf_counter()
    for _ in range(repeats):
        for way, found in zip(ways, results, strict=True):
            found.append(way())
        on_round()
        if time.perf_counter() - start > seconds:
            break
    return results


def as_a_fresh_process() -> None:
    """Undoes what finetune sets for its whole process: in the pipeline each stage has one of its own."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
