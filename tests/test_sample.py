"""The default data set: the renderer's invariants, and that only the order of the frames distinguishes the classes."""

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

from commands import sample
from commands.sample import CLASSES, CLIPS, DIRECTIONS, FLIP, FPS, FRAMES, GROUPS, PERIOD, SIDE, STEPS, _rotated

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / "data" / "sample.zip"
CONFIG = ROOT / "conf" / "data" / "sample.yaml"
CHANCE = 1 / len(CLASSES)
VIEW = 8  # frames, as in the configuration
TEST_GROUPS = range(1, 8)  # of the official split's fold 1


def decode(video: bytes, folder: Path) -> tuple[np.ndarray, float]:
    """All frames of a video, (T, H, W, 3) RGB, and its frames per second."""
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
    """The first view of each clip of train and of test: quarter-size floats (N, VIEW, 16, 16, 3), and labels."""
    parts = {"train": ([], []), "test": ([], [])}
    for (name, group, _), frames in committed.items():
        pictures, labels = parts["test" if group in TEST_GROUPS else "train"]
        pictures.append([cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA) for frame in frames[:VIEW]])
        labels.append(CLASSES.index(name))
    return {part: (np.array(pictures, np.float32), np.array(labels)) for part, (pictures, labels) in parts.items()}


def accuracy(views, features) -> float:
    """Test accuracy of the better of two classifiers on `features` of the views."""
    (train, train_labels), (test, test_labels) = views["train"], views["test"]
    train, test = features(train), features(test)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-2, max_iter=300))
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1)
    return max(model.fit(train, train_labels).score(test, test_labels) for model in (linear, forest))


# ---------------------------------------------------------------- the renderer


def test_same_bytes_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "GROUPS", 2)
    sample.run(tmp_path / "a.zip")
    sample.run(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_command_writes_to_the_given_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "GROUPS", 1)
    monkeypatch.setattr("sys.argv", ["sample", "--output", str(tmp_path / "folder" / "out.zip")])
    sample.main()
    with zipfile.ZipFile(tmp_path / "folder" / "out.zip") as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(CLASSES) * CLIPS
        assert archive.namelist()[0] == f"sample/v_{CLASSES[0]}_g01_c01.avi"


@pytest.mark.parametrize("hand", STEPS)
def test_each_direction_is_a_number_of_steps_to_the_right_on_the_lattice(hand):
    right = np.array([1.0, 0.0])
    first = 2 * right + _rotated(right, hand)
    lattice = np.array([first, _rotated(first, hand)])
    for sixths, steps in enumerate(STEPS[hand]):
        cells = (_rotated(right, sixths) - steps * right) @ np.linalg.inv(lattice)
        assert np.allclose(cells, np.rint(cells)), sixths


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("hand", STEPS)
def test_every_view_shows_every_picture(name, hand):
    order = sample.order_pictures(name, hand)
    assert len(order) == FRAMES
    assert order[0] == order[PERIOD] == order[-1] == 0
    for start in range(FRAMES - PERIOD + 1):
        assert sorted(order[start : start + PERIOD]) == list(range(PERIOD))


@pytest.mark.parametrize("clip", [1, 2])
@pytest.mark.parametrize("name", CLASSES)
def test_the_pattern_moves_one_step_in_the_direction_of_its_class(name, clip):
    """Shifts the objects of a frame one step back: its moving part is then that of the previous frame."""
    scene = sample.render_pictures(9, clip)
    frames = scene.pictures[sample.order_pictures(name, scene.hand)].astype(np.float32)
    moving = frames - frames[:PERIOD].mean(axis=0)

    def error(sixths: int) -> float:
        dx, dy = _rotated(scene.step, sixths)
        back = [cv2.warpAffine(frame, np.array([[1, 0, -dx], [0, 1, -dy]]), (SIDE, SIDE)) for frame in moving[1:]]
        inside = slice(12, SIDE - 12)
        return float(np.abs(np.array(back) - moving[:-1])[:, inside, inside].mean())

    errors = [error(sixths) for sixths in range(6)]
    assert DIRECTIONS[int(np.argmin(errors))] == name
    assert min(errors) < 0.5 * sorted(errors)[1]


def test_flip_is_the_mirror_of_the_directions():
    for sixths, name in enumerate(DIRECTIONS):
        x, y = _rotated(np.array([1.0, 0.0]), sixths)
        mirrored = _rotated(np.array([1.0, 0.0]), DIRECTIONS.index(FLIP[name]))
        assert np.allclose(mirrored, [-x, y])


def test_the_configuration_matches_the_renderer():
    config = yaml.safe_load(CONFIG.read_text())
    assert config["data"]["flip"] == FLIP
    assert config["data"]["archive"] == str(sample.OUTPUT)
    assert config["data"]["split"]["scheme"] == "official"
    assert (config["frames"]["fps"], config["frames"]["size"]) == (FPS, SIDE)
    assert config["frames"]["count"] % PERIOD <= 1
    assert config["frames"]["count"] <= FRAMES


# ---------------------------------------------------------------- the committed archive


def test_the_committed_archive_is_what_the_renderer_gives(committed):
    assert ARCHIVE.stat().st_size < 4e6
    for group in range(1, GROUPS + 1):
        for clip in range(1, CLIPS + 1):
            scene = sample.render_pictures(group, clip)
            for name in CLASSES:
                frames = committed[name, group, clip]
                assert frames.shape == (FRAMES, SIDE, SIDE, 3)
                expected = scene.pictures[sample.order_pictures(name, scene.hand)]
                error = np.abs(frames.astype(int) - expected).mean(axis=(1, 2, 3))
                assert error.max() < 12, (name, group, clip)  # of 255: what the codec loses, most of it colour
                other = np.abs(frames[1:].astype(int) - expected[:-1]).mean(axis=(1, 2, 3))
                assert other.min() > 2 * error.max(), (name, group, clip)


def test_a_picture_is_encoded_the_same_in_every_class(committed):
    """The frames of the six clips of a scene are the same pictures to the last bit, and so is the first of each."""
    for group in range(1, GROUPS + 1):
        for clip in range(1, CLIPS + 1):
            scenes = [committed[name, group, clip] for name in CLASSES]
            pictures = sorted(frame.tobytes() for frame in scenes[0][:PERIOD])
            for frames in scenes:
                assert np.array_equal(frames[0], scenes[0][0])
                for start in (0, 3, PERIOD):
                    assert sorted(frame.tobytes() for frame in frames[start : start + PERIOD]) == pictures


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
    "sorted": lambda views: np.sort(views, axis=1)[:, ::3].reshape(len(views), -1),
}


@pytest.mark.parametrize("name", FIRST_FRAME)
def test_the_first_frame_is_no_better_than_chance(views, name):
    assert accuracy(views, FIRST_FRAME[name]) < 2 * CHANCE


@pytest.mark.parametrize("name", SETS)
def test_frames_without_their_order_are_no_better_than_chance(views, name):
    assert accuracy(views, SETS[name]) < 2 * CHANCE


def motion(views: np.ndarray) -> np.ndarray:
    """How the moving part of a frame correlates with the next one's, by shift in the plane: (N, 16 * 16)."""
    moving = views - views.mean(axis=1, keepdims=True)
    spectrum = np.fft.fft2(moving, axes=(2, 3))
    shifts = np.fft.ifft2(np.conj(spectrum[:, :-1]) * spectrum[:, 1:], axes=(2, 3)).real.sum(axis=(1, 4))
    return (shifts / np.abs(shifts).max(axis=(1, 2), keepdims=True)).reshape(len(views), -1)


def test_ordered_frames_distinguish_the_classes(views):
    assert accuracy(views, motion) > 0.8


def test_shuffled_frames_do_not(views):
    random = np.random.default_rng(0)
    shuffled = {
        part: (np.array([view[random.permutation(VIEW)] for view in pictures]), labels)
        for part, (pictures, labels) in views.items()
    }
    assert accuracy(shuffled, motion) < 2 * CHANCE


def test_mirrored_frames_are_of_the_mirrored_class(views):
    """A classifier of motion, trained on unmirrored clips, assigns mirrored clips to the classes of the flip mapping."""
    (train, train_labels), (test, test_labels) = views["train"], views["test"]
    model = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(motion(train), train_labels)
    flipped = np.array([CLASSES.index(FLIP.get(CLASSES[label], CLASSES[label])) for label in test_labels])
    assert model.score(motion(test[:, :, :, ::-1]), flipped) > 0.8
