"""Input and output in several threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, on_failure: Callable[[], None] = lambda: None
) -> dict[Item, Result]:
    """Returns the result of `work` by item.

    After the first failure no further item is started, `on_failure` is called, and the failure is raised.
    """
    results = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(work, item): item for item in items}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
        except BaseException:
            on_failure()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
