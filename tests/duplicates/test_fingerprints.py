"""Fingerprints: their frames and times, orientation and size, folders of images, broken files, what is kept on disk."""

import cv2
import numpy as np
import pytest

from pipeline.duplicates import fingerprints as module
from pipeline.duplicates.fingerprints import RATE, UNIT, Fingerprint, fingerprint, fingerprints
from pipeline.files import sha256
from pipeline.video.decode import BrokenVideo
from tests.duplicates.scenes import scene, taken, write
from tests.video.videos import write_av


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def steps(*levels: int) -> np.ndarray:
    return np.stack([np.full((48, 64), level, np.uint8) for level in levels])


def test_frames_are_what_a_player_shows_at_each_moment(tmp_path):
    path = write(tmp_path / "v.avi", steps(40, 80, 120, 160, 200), rate=10)
    found = fingerprint(path)
    assert found.frames.shape == (10, 8, 8) and found.frames.dtype == np.uint16
    levels = found.frames.mean(axis=(1, 2)) / UNIT
    assert np.diff(levels[::2]) == pytest.approx([levels[2] - levels[0]] * 4, rel=0.05) and levels[2] > levels[0] + 25
    assert np.array_equal(found.frames[::2], found.frames[1::2]), "each frame of 10 a second is shown twice"
    assert found.sha256 == sha256(path)
    slow = write(tmp_path / "slow.avi", steps(40, 200), rate=4)
    assert (fingerprint(slow).frames.mean(axis=(1, 2)) > 100 * UNIT).tolist() == [False] * 5 + [True] * 5
    fast = write(tmp_path / "fast.avi", steps(*([40, 80, 120, 160] * 5)), rate=40)
    assert len(fingerprint(fast).frames) == 10


def test_the_frame_is_reduced_in_place_whatever_its_size(tmp_path):
    images = scene(1, 1, seconds=1)
    expected = taken(images, "").frames.astype(float)
    large = np.stack([cv2.resize(image, (200, 150)) for image in images])
    for one in (images, large, large[:, :, :120]):
        found = fingerprint(write(tmp_path / "v.avi", one)).frames.astype(float)
        agreement = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
        assert agreement > 0.98 if one.shape[2] != 120 else agreement < 0.9
    mirrored = fingerprint(write(tmp_path / "m.avi", images[:, :, ::-1])).frames.astype(float)
    assert np.corrcoef(mirrored[:, :, ::-1].ravel(), expected.ravel())[0, 1] > 0.98


def test_a_long_clip_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 1)
    assert len(fingerprint(write(tmp_path / "v.avi", scene(1, 1))).frames) == RATE


def test_a_folder_of_images_counts_by_image(tmp_path):
    images = scene(2, 3, seconds=1)
    for number, image in enumerate(images):
        (tmp_path / "clip").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"clip/{number}.png"), image)
    found = fingerprint(tmp_path / "clip")
    assert found.frames.shape == (RATE, 8, 8)
    assert np.abs(found.frames - taken(images, "").frames.astype(float)).max() < 2 * UNIT
    (tmp_path / "clip/19.png").write_bytes((tmp_path / "clip/18.png").read_bytes())
    assert fingerprint(tmp_path / "clip").sha256 != found.sha256
    (tmp_path / "empty").mkdir()
    with pytest.raises(BrokenVideo, match="holds no images"):
        fingerprint(tmp_path / "empty")


def test_broken_files_do_not_stop_the_others(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(100))
    good = write_av(tmp_path / "good.mp4", 30)
    found = fingerprints({"noise": tmp_path / "noise.mp4", "gone": tmp_path / "gone.mp4", "good": good}, 1)
    assert list(found) == ["noise", "gone", "good"]
    assert isinstance(found["noise"], BrokenVideo) and "there is no such file" in found["gone"].reason
    assert isinstance(found["good"], Fingerprint)


def test_content_is_decoded_once(tmp_path, monkeypatch):
    first = fingerprints({"a": write(tmp_path / "a.avi", scene(1, 1))}, 1)["a"]
    (tmp_path / "copy.avi").write_bytes((tmp_path / "a.avi").read_bytes())
    other = write(tmp_path / "b.avi", scene(1, 2))
    monkeypatch.setattr(module, "_frames", lambda path: np.full((3, 8, 8), 7, np.uint16))
    found = fingerprints({"copy": tmp_path / "copy.avi", "b": other}, 1)
    assert np.array_equal(found["copy"].frames, first.frames) and found["copy"].sha256 == first.sha256
    assert found["b"].frames.shape == (3, 8, 8)
    monkeypatch.setattr(module, "VERSION", 0)
    assert fingerprints({"a": tmp_path / "a.avi"}, 1)["a"].frames.shape == (3, 8, 8)


def test_processes_give_the_same(tmp_path):
    files = {str(number): write(tmp_path / f"{number}.avi", scene(1, number, seconds=0.5)) for number in range(20)}
    alone = {name: fingerprint(path) for name, path in files.items()}
    shared = fingerprints(files, 2)
    assert list(shared) == list(alone)
    assert all(
        np.array_equal(shared[name].frames, one.frames) and shared[name].sha256 == one.sha256 for name, one in alone.items()
    )


@pytest.mark.parametrize("keep", [0, 100, 300])
def test_a_kept_file_that_is_damaged_is_made_again(tmp_path, keep):
    path = write(tmp_path / "v.avi", steps(40, 80, 120), rate=10)
    (first,) = fingerprints({"v": path}, 1).values()
    (kept,) = (tmp_path / ".cache/fingerprints").rglob("*.npy")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:keep])
    (again,) = fingerprints({"v": path}, 1).values()
    assert np.array_equal(first.frames, again.frames) and kept.read_bytes() == whole
