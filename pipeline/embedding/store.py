"""Features on disk by view, so that other splits, subsets and more classes compute only what is new.

Invariants: a value depends on its key alone, so it does not matter which run stored it; several processes may use the store at
once (an SQLite database with files next to it, by diskcache); beyond its limit the values that were unused for longest are
removed. Values are bytes: nothing is unpickled. While the repository's store is open, its lock file has a shared lock, so that
commands.cache does not remove it.
"""

import errno
import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import diskcache
import numpy as np

from pipeline.console import UserError
from pipeline.files import scratch


class ViewFeatures(NamedTuple):
    """features: float32, of one view. mirrored: whether the view was mirrored, which may change its label."""

    features: np.ndarray
    mirrored: bool


class _BytesDisk(diskcache.Disk):
    """Stores bytes under text; refuses anything that would have to be unpickled."""

    def store(self, value, read, key=diskcache.UNKNOWN):
        if not isinstance(value, bytes):
            raise TypeError(f"only bytes are stored, not {type(value).__name__}")
        return super().store(value, read, key)

    def fetch(self, mode, filename, value, read):
        if mode == diskcache.core.MODE_PICKLE:
            raise ValueError("a pickled value")
        return super().fetch(mode, filename, value, read)


class FeatureStore:
    """The store in `folder`. shape: of the features of a view."""

    def __init__(self, folder: Path, gigabytes: float, shape: tuple[int, ...]):
        self.folder, self.shape = Path(folder), shape
        with self._errors():
            self._cache = diskcache.Cache(
                str(folder), disk=_BytesDisk, size_limit=int(gigabytes * 1e9), eviction_policy="least-recently-used"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, diskcache.Timeout) as error:
            if "full" in str(error):
                raise self._full() from error
            message = f"{self.folder}: the cache of features cannot be used ({error or type(error).__name__})"
            raise UserError(message, advice="delete the folder; its features are then computed again") from error
        except OSError as error:  # of a value that is large enough for a file of its own
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full() from error
            raise

    def _full(self) -> UserError:
        advice = "free some space and run again; finished work is kept"
        return UserError(f"{self.folder}: the disk is full", advice=advice)

    def read(self, keys: list[str]) -> Iterator[ViewFeatures | None]:
        """The features of each key; None where there are none."""
        size = 4 * int(np.prod(self.shape))
        with self._errors(), self._cache.transact(retry=True):  # one transaction: each read notes its time
            values = [self._cache.get(key) for key in keys]
        for value in values:
            if value is None or len(value) != 1 + size:
                yield None
            else:
                yield ViewFeatures(np.frombuffer(value, np.float32, offset=1).reshape(self.shape), value[0] == 1)

    def write(self, items: dict[str, ViewFeatures]) -> None:
        with self._errors(), self._cache.transact(retry=True):
            for key, view in items.items():
                self._cache.set(key, bytes([view.mirrored]) + np.ascontiguousarray(view.features, np.float32).tobytes())

    def close(self) -> None:
        self._cache.close()


@contextmanager
def open_store(gigabytes: float, shape: tuple[int, ...]) -> Iterator[FeatureStore]:
    """The repository's store, which all its runs share, also those in DVC's temporary copies."""
    folder = scratch("features", "views")
    with open(f"{folder}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with closing(FeatureStore(folder, gigabytes, shape)) as store:
            yield store
