"""The default data set: what the renderer promises, and that only the order of the frames tells the classes apart."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages import sample
from stages.sample import CLASSES, CLIPS, FLIP, FPS, GROUPS, PERIOD, PERIODS, SIDE, WALKS

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / "data" / "sample.zip"
CONFIG = ROOT / "conf" / "data" / "sample.yaml"
CHANCE = 1 / len(CLASSES)
TEST_GROUPS = range(1, 8)  # of the official split's fold 1


def decode(video: bytes, folder: Path) -> tuple[np.ndarray, float]:
    """All frames of a video, (T, H, W, 3) RGB, and its frames a second."""
    path = folder / "clip.avi"
    path.write_bytes(video)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        got, frame = capture.read()
        if not got:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return np.array(frames), capture.get(cv2.CAP_PROP_FPS)


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> dict[tuple[str, int, int], np.ndarray]:
    """Frames of each committed clip by (class, group, clip)."""
    folder = tmp_path_factory.mktemp("sample")
    clips = {}
    with zipfile.ZipFile(ARCHIVE) as archive:
        members = {
            sample.member_name(name, group, clip): (name, group, clip)
            for name in CLASSES
            for group in range(1, GROUPS + 1)
            for clip in range(1, CLIPS + 1)
        }
        assert archive.namelist() == list(members)
        for member, key in members.items():
            clips[key], fps = decode(archive.read(member), folder)
            assert fps == FPS, member
    return clips


@pytest.fixture(scope="module")
def views(committed) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One period of each clip from its first frame on, quarter-size floats (N, PERIOD, 16, 16, 3), and labels; train and test."""
    parts = {"train": ([], []), "test": ([], [])}
    for (name, group, _), frames in committed.items():
        pictures, labels = parts["test" if group in TEST_GROUPS else "train"]
        pictures.append([cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA) for frame in frames[:PERIOD]])
        labels.append(CLASSES.index(name))
    return {part: (np.array(pictures, np.float32), np.array(labels)) for part, (pictures, labels) in parts.items()}


def accuracy(views, features) -> float:
    """Test accuracy of the better of two classifiers on `features` of the views."""
    (train, train_labels), (test, test_labels) = views["train"], views["test"]
    train, test = features(train), features(test)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    forest = RandomForestClassifier(200, random_state=0, n_jobs=1)
    return max(model.fit(train, train_labels).score(test, test_labels) for model in (linear, forest))


# ---------------------------------------------------------------- the renderer


def test_same_bytes_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "GROUPS", 2)
    sample.run(tmp_path / "a.zip")
    sample.run(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_command_writes_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "GROUPS", 1)
    monkeypatch.setattr("sys.argv", ["sample", "--output", str(tmp_path / "folder" / "out.zip")])
    sample.main()
    with zipfile.ZipFile(tmp_path / "folder" / "out.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(CLASSES) * CLIPS
        assert archive.namelist()[0] == f"sample/v_{CLASSES[0]}_g01_c01.avi"


@pytest.mark.parametrize("seed", range(20))
def test_no_two_objects_share_a_step(seed):
    places = sample.draw_places(np.random.default_rng(seed))
    steps = []
    for row in places:
        assert sorted(row) == list(range(PERIOD))
        order = np.argsort(row)
        steps.append({frozenset(pair) for pair in zip(order, np.roll(order, -1), strict=True)})
        assert len(steps[-1]) == PERIOD
    assert not steps[0] & steps[1]
    assert not steps[0] & steps[2]
    assert not steps[1] & steps[2]


@pytest.mark.parametrize("name", CLASSES)
def test_exactly_one_object_walks(name):
    thing, step = WALKS[name]
    places = sample.draw_places(np.random.default_rng(5))
    order = sample.order_pictures(name, places)
    assert order[0] == 0
    moves = np.diff(places[:, order], axis=1) % PERIOD
    assert (moves[thing] == step % PERIOD).all()
    others = np.delete(moves, thing, axis=0)
    assert ((others >= 2) & (others <= PERIOD - 2)).all()


def test_every_whole_period_shows_every_picture():
    places = sample.draw_places(np.random.default_rng(7))
    for name in CLASSES:
        order = sample.order_pictures(name, places)
        assert len(order) == PERIOD * PERIODS
        for start in range(PERIOD * (PERIODS - 1) + 1):
            assert sorted(order[start : start + PERIOD]) == list(range(PERIOD))


def test_mirrored_the_walk_is_the_other_class():
    """The mean place of what changes between two frames: mirrored, what went right goes left, by the flip mapping."""
    for name, (thing, step) in WALKS.items():
        mirrored = (thing, step if thing == 1 else -step)  # only a column looks the same in a mirror
        assert WALKS[FLIP.get(name, name)] == mirrored


def test_the_configuration_matches_the_renderer():
    config = yaml.safe_load(CONFIG.read_text())
    assert config["data"]["flip"] == FLIP
    assert config["data"]["split"]["scheme"] == "official"
    assert (config["frames"]["fps"], config["frames"]["size"]) == (FPS, SIDE)
    assert config["frames"]["count"] % PERIOD == 0


# ---------------------------------------------------------------- the committed archive


def test_the_committed_archive_is_what_the_renderer_gives(committed):
    assert ARCHIVE.stat().st_size < 4e6
    for (name, group, clip), frames in committed.items():
        assert frames.shape == (PERIOD * PERIODS, SIDE, SIDE, 3)
        if clip == 1:
            pictures, places = sample.render_pictures(group, clip)
            expected = pictures[sample.order_pictures(name, places)]
            error = np.abs(frames.astype(int) - expected).mean(axis=(1, 2, 3))
            assert error.max() < 6, (name, group, clip)  # of 255: what the codec loses


def test_the_codec_treats_a_picture_alike_in_every_class(committed):
    """Sorted, the decoded frames of the six clips of a scene are the same to the last bit, and so is the first."""
    for group in range(1, GROUPS + 1):
        for clip in range(1, CLIPS + 1):
            scenes = [committed[name, group, clip] for name in CLASSES]
            for frames in scenes[1:]:
                assert np.array_equal(frames[0], scenes[0][0])
                for start in (0, 3, PERIOD):
                    window = sorted(frame.tobytes() for frame in frames[start : start + PERIOD])
                    assert window == sorted(frame.tobytes() for frame in scenes[0][:PERIOD])


def test_groups_look_different(committed):
    first = {group: committed[CLASSES[0], group, 1][0].astype(int) for group in range(1, GROUPS + 1)}
    differences = [np.abs(first[a] - first[b]).mean() for a in first for b in first if a < b]
    assert min(differences) > 8


# ---------------------------------------------------------------- only motion tells


def gradients(frames: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients of the frames, (N, 4 * 4 * 8)."""
    grey = frames.mean(axis=-1)
    dy, dx = np.gradient(grey, axis=(1, 2))
    weight, bins = np.hypot(dx, dy), ((np.arctan2(dy, dx) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    votes = weight[..., None] * (bins[..., None] == np.arange(8))
    return votes.reshape(len(frames), 4, 4, 4, 4, 8).sum(axis=(2, 4)).reshape(len(frames), -1)


FIRST_FRAME = {
    "pixels": lambda views: views[:, 0].reshape(len(views), -1),
    "gradients": lambda views: gradients(views[:, 0]),
}
SETS = {
    "mean and deviation": lambda views: np.concatenate([views.mean(1), views.std(1)], axis=1).reshape(len(views), -1),
    "sorted": lambda views: np.sort(views, axis=1)[:, ::2].reshape(len(views), -1),
}


@pytest.mark.parametrize("name", FIRST_FRAME)
def test_the_first_frame_is_worth_a_guess(views, name):
    assert accuracy(views, FIRST_FRAME[name]) < 2 * CHANCE


@pytest.mark.parametrize("name", SETS)
def test_the_frames_without_their_order_are_worth_a_guess(views, name):
    assert accuracy(views, SETS[name]) < 2 * CHANCE


def motion(views: np.ndarray) -> np.ndarray:
    """What correlates from frame to frame, (N, 15 * 15 + 16): by shift in the plane, and by turn about the centre."""
    moving = views - np.median(views, axis=1, keepdims=True)
    spectrum = np.fft.fft2(moving, axes=(2, 3))
    plane = np.fft.ifft2(np.conj(spectrum[:, :-1]) * spectrum[:, 1:], axes=(2, 3)).real.sum(axis=(1, 4))
    angles, radii = np.meshgrid(np.arange(32) * 2 * np.pi / 32, np.array([4.5, 5.0, 5.5]))
    at = np.rint(7.5 + radii * np.sin(angles)).astype(int), np.rint(7.5 + radii * np.cos(angles)).astype(int)
    ring = np.fft.fft(moving[:, :, at[0], at[1]].mean(axis=2), axis=2)
    turns = np.fft.ifft(np.conj(ring[:, :-1]) * ring[:, 1:], axis=2).real.sum(axis=(1, 3))
    features = np.concatenate([plane.reshape(len(views), -1), turns], axis=1)
    return features / np.abs(features).max(axis=1, keepdims=True)


def test_the_frames_in_order_tell_the_classes(views):
    assert accuracy(views, motion) > 0.8


def test_the_same_frames_shuffled_do_not(views):
    random = np.random.default_rng(0)
    shuffled = {
        part: (np.array([view[random.permutation(PERIOD)] for view in pictures]), labels)
        for part, (pictures, labels) in views.items()
    }
    assert accuracy(shuffled, motion) < 2 * CHANCE


def test_mirrored_frames_tell_the_mirrored_class(views):
    """A classifier of motion, trained on clips as they are, calls mirrored clips what the flip mapping says."""
    (train, train_labels), (test, test_labels) = views["train"], views["test"]
    model = RandomForestClassifier(200, random_state=0, n_jobs=1).fit(motion(train), train_labels)
    flipped = np.array([CLASSES.index(FLIP.get(CLASSES[label], CLASSES[label])) for label in test_labels])
    assert model.score(motion(test[:, :, :, ::-1]), flipped) > 0.8
