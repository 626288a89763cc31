import errno
import pickle
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.embedding.store import FeatureStore, ViewFeatures


def view(value: float, size: int = 3) -> ViewFeatures:
    return ViewFeatures(np.full(size, value, np.float32), value % 2 == 1)


def fill(folder, start: int) -> None:
    store = FeatureStore(folder, 1.0, (3,))
    for number in range(start, start + 50):
        store.write({str(number): view(number)})
    store.close()


def test_what_is_written_is_read(tmp_path):
    store = FeatureStore(tmp_path, 1.0, (3,))
    store.write({"a": view(1), "b": view(2)})
    a, none, b = store.read(["a", "c", "b"])
    assert none is None and (a.mirrored, b.mirrored) == (True, False)
    np.testing.assert_array_equal([a.features, b.features], [[1] * 3, [2] * 3])


def test_several_processes_write_at_once(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(fill, [tmp_path] * 2, [0, 50]))
    found = list(FeatureStore(tmp_path, 1.0, (3,)).read([str(number) for number in range(100)]))
    assert [int(item.features[0]) for item in found] == list(range(100))


def test_the_least_recently_used_are_removed(tmp_path):
    store = FeatureStore(tmp_path, 0.002, (10_000,))
    for number in range(100):  # 4 MB
        store.write({str(number): view(number, 10_000)})
        assert next(iter(store.read(["0"]))) is not None
    found = list(store.read([str(number) for number in range(100)]))
    assert 20 < sum(item is not None for item in found) < 60
    assert found[99] is not None and found[1] is None


def test_nothing_is_unpickled(tmp_path):
    store = FeatureStore(tmp_path, 1.0, (3,))
    store.write({"a": view(1)})
    store.close()
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(view(1)),))
    with pytest.raises(ValueError, match="pickled"):
        list(FeatureStore(tmp_path, 1.0, (3,)).read(["a"]))


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match=r"cannot be used .*delete the folder"):
        FeatureStore(tmp_path, 1.0, (3,))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), sqlite3.OperationalError("database or disk is full")])
def test_a_full_disk_is_named(tmp_path, monkeypatch, error):
    store = FeatureStore(tmp_path, 1.0, (3,))

    def fail(*given, **more):
        raise error

    monkeypatch.setattr(store._cache, "set", fail)
    with pytest.raises(UserError, match="the disk is full; free some space"):
        store.write({"a": view(1)})
