import numpy as np
import pytest

from pipeline.events import store as store_module
from pipeline.events.detection import Score
from pipeline.events.scores import Windows
from pipeline.events.store import ScoreStore, open_store, scores_key
from pipeline.video.container import BrokenVideo
from tests.inference.small import streaming, whole_clips, write_video


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def score(k):
    return Score(k + 0.25, np.array([k / 10, 1 - k / 10], np.float32))


def frame(seconds, size=(160, 240)):
    return round(seconds * 1e6), np.full((*size, 3), 90, np.uint8)


def test_scores_and_thumbnails_are_kept(tmp_path):
    with ScoreStore(tmp_path, 2) as store:
        assert store.count == 0 and store.end is None
        for k in range(5):
            store.add(score(k))
        for k in range(11):
            store.add_thumbnail(frame(0.2 * k))
        store.finish(7.5)
    with ScoreStore(tmp_path, 2) as store:
        assert store.count == 5 and store.end == 7.5
        for k, stored in enumerate(store.scores()):
            assert stored.seconds == k + 0.25
            np.testing.assert_array_equal(stored.probabilities, score(k).probabilities)
        thumbnails = list(store.thumbnails())
    assert [seconds for seconds, _ in thumbnails] == [0.0, 1.0, 2.0]
    import cv2

    assert cv2.imdecode(np.frombuffer(thumbnails[0][1], np.uint8), cv2.IMREAD_COLOR).shape == (120, 180, 3)


@pytest.mark.parametrize("cut", [1, 7, 15])
def test_what_a_killed_process_left_unfinished_is_discarded(tmp_path, cut):
    with ScoreStore(tmp_path, 2) as store:
        for k in range(3):
            store.add(score(k))
            store.add_thumbnail(frame(k))
    whole = {name: (tmp_path / name).read_bytes() for name in ("scores.bin", "thumbnails.bin")}
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content[:-cut])
    with ScoreStore(tmp_path, 2) as store:
        assert store.count == 2 and store.thumbnails_until == 1.0
        store.add(score(2))
        store.add_thumbnail(frame(1.5))
        store.add_thumbnail(frame(2))
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole


def test_the_key_states_what_decides_the_scores(tmp_path):
    path = write_video(tmp_path / "v.avi", [20] * 8)
    windows = Windows(4, 1)
    key = scores_key([path], [None], whole_clips(None), windows)
    assert scores_key([path], [None], whole_clips(None), windows) == key
    other = whole_clips(None)
    other._compute = lambda views: np.full((len(views), 3), 1 / 3, np.float32)
    keys = {
        key,
        scores_key([path], [2.0], whole_clips(None), windows),
        scores_key([path], [None], whole_clips(None), Windows(4, 2)),
        scores_key([path], [None], other, windows),
    }
    write_video(path, [21] * 8)
    assert len(keys | {scores_key([path], [None], whole_clips(None), windows)}) == 5
    assert scores_key([path], [None], streaming(), windows) == scores_key([path], [None], streaming(), windows)


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(BrokenVideo, match=r"cannot be read \(Is a directory\)"):
        scores_key([tmp_path], [None], whole_clips(None), Windows(4, 1))


def test_a_store_without_a_key_is_removed(tmp_path):
    with open_store(None, 2) as store:
        store.add(score(1))
        assert store.folder.is_dir() and not store.folder.is_relative_to(tmp_path / ".cache")
    assert not store.folder.exists() and not (tmp_path / ".cache").exists()


def test_a_store_that_another_process_removes_meanwhile_is_no_error(tmp_path, monkeypatch):
    folder = tmp_path / ".cache/events"
    (folder / "b").mkdir(parents=True)
    used = store_module._used

    def vanish(path):
        when = used(path)
        if path.name == "b":
            path.rmdir()
            assert used(path) == 0
        return when

    monkeypatch.setattr(store_module, "_used", vanish)
    with open_store("a", 2) as store:
        store.add(score(1))
    assert (folder / "a/scores.bin").exists()


def test_stores_that_were_not_used_for_long_are_removed(tmp_path, monkeypatch):
    import os

    for number, key in enumerate("abc"):
        with open_store(key, 2) as store:
            for k in range(50):
                store.add(score(k))  # 800 bytes
        os.utime(tmp_path / ".cache/events" / key, (number, number))
    monkeypatch.setattr(store_module, "KEPT_BYTES", 2000)
    with open_store("a", 2) as store:
        assert store.count == 50
    assert sorted(path.name for path in (tmp_path / ".cache/events").iterdir() if path.is_dir()) == ["a", "c"]
