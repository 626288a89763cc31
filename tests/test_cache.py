import re
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from commands import cache
from pipeline.embedding.store import ViewFeatures, open_store
from pipeline.events import store


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache with the unfinished frames of two runs, and features."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for file, size in (("frames/one/a", 5), ("frames/two/b", 7), ("features/views/cache.db", 100)):
        path = tmp_path / ".cache" / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    return tmp_path / ".cache"


def run(monkeypatch, capsys, *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr("sys.argv", ["cache", *arguments])
    cache.main()
    return capsys.readouterr()


def test_sizes_are_listed_the_largest_first(kept, monkeypatch, capsys):
    lines = run(monkeypatch, capsys)[0].splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["features", "0.0", "MB", "1"],
        ["frames", "0.0", "MB", "2"],
        ["together", "0.0", "MB", "3"],
    ]
    assert [(item.kind, item.bytes) for item in cache.find_kept(kept)] == [("features", 100), ("frames", 12)]


def test_what_is_in_use_stays(kept, monkeypatch, capsys):
    with FileLock(kept / "frames/two.lock"):
        said = run(monkeypatch, capsys, "--remove", "frames")[1]
    assert "a running process uses two, so that stays" in said
    assert not (kept / "frames/one").exists() and (kept / "frames/two/b").exists() and (kept / "features/views").exists()


def test_features_that_a_run_uses_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    views = {"a": ViewFeatures(np.ones(3, np.float32), False)}
    with open_store(1.0, (3,)) as first, open_store(1.0, (3,)) as second:
        first.write(views)
        assert "a running process uses views, so that stays" in run(monkeypatch, capsys, "--remove", "features")[1]
        assert next(second.read(["a"])) is not None
    assert "warning" not in run(monkeypatch, capsys, "--remove", "features")[1]
    with open_store(1.0, (3,)) as store:
        assert next(store.read(["a"])) is None


def test_every_kind_that_is_kept_is_named():
    """What the code keeps in .cache: the first argument of `scratch` and `resumable_scratch`."""
    root = Path(cache.__file__).parents[1]
    code = "\n".join(path.read_text() for name in ("pipeline", "stages") for path in (root / name).rglob("*.py"))
    kinds = set(re.findall(r'scratch\("(\w+)"', code)) | {store.KIND}
    assert {"features", "events", "frames"} <= kinds <= cache.KINDS.keys()


def test_an_absent_kind_is_nothing_to_remove(kept, monkeypatch, capsys):
    assert "removed 0.0 MB" in run(monkeypatch, capsys, "--remove", "weights")[1]


def test_an_unknown_kind_is_refused(kept, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "--remove", "tracking")
    assert "invalid choice: 'tracking'" in capsys.readouterr().err
