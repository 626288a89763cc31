"""The data set for your own models, and the program on its documentation page."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from pipeline.artifacts import FramesSummary, SplitFrames
from pipeline.console import UserError
from pipeline.settings import Augment
from pipeline.video.dataset import clip_dataset
from pipeline.video.records import serialize_clip, write_shard
from tests.imports import ROOT

CLASSES, SIZE = ["Dark", "Bright"], 64
AUGMENT = Augment(crop=0.5, flip=True, brightness=0.1, contrast=0.1, saturation=0.1, jitter=True)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Records of clips of 12 frames, each brighter than the one before; two classes of brightness."""
    folder = tmp_path_factory.mktemp("project") / "data/frames"
    splits = {}
    for split, clips in (("train", 16), ("validation", 4), ("test", 4)):
        records = []
        for number in range(clips):
            base = 30 + 130 * (number % 2)
            pictures = [np.full((SIZE, 80, 3), base + 4 * time, np.uint8) for time in range(12)]
            jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
            name = f"{split}/{number}.avi"
            records.append(serialize_clip(name, number % 2, CLASSES[number % 2], f"g{number}", jpegs, list(range(12))))
        write_shard(folder / f"{split}.tfrecord", records)
        splits[split] = SplitFrames(
            clips=clips, frames=12 * clips, groups=clips, bytes=1, frames_per_clip=None, per_class={}, files=[f"{split}.tfrecord"]
        )
    FramesSummary(classes=CLASSES, fps=5, size=SIZE, quality=95, splits=splits, skipped=[], damaged=[]).write(
        folder / "frames.json"
    )
    return folder


def starts(dataset) -> list[int]:
    """The index of the first frame of each view, from its brightness."""
    levels = [(float(frames[0].mean()) * 255, int(label)) for frames, label, _ in dataset.as_numpy_iterator()]
    return [round((level - 30 - 130 * label) / 4) for level, label in levels]


def test_elements_are_views_labels_and_ids(frames):
    dataset = clip_dataset("test", frames=frames, count=4)
    assert len(dataset) == 4
    views, labels, ids = zip(*dataset.as_numpy_iterator(), strict=True)
    assert {view.shape for view in views} == {(4, SIZE, SIZE, 3)} and views[0].dtype == np.float32
    assert labels == (0, 1, 0, 1) and ids[3] == b"test/3.avi"


def test_evaluation_views_are_the_middle_or_the_beginning_and_training_views_are_anywhere(frames):
    assert starts(clip_dataset("test", frames=frames, count=4)) == [4] * 4
    assert starts(clip_dataset("test", frames=frames, count=4, sampling="first")) == [0] * 4
    training = clip_dataset("train", frames=frames, count=4, size=32, sampling="random", seed=3)
    first, second = starts(training), starts(training)
    assert len(set(first)) > 3 and set(first) <= set(range(9))
    assert first != second, "each epoch has other views"
    assert starts(clip_dataset("train", frames=frames, count=4, sampling="random", seed=3)) == first


def test_orders_differ_between_epochs_and_depend_on_the_seed(frames):
    def order(seed: int) -> list[list[bytes]]:
        dataset = clip_dataset("train", frames=frames, count=2, shuffle=True, seed=seed)
        return [[id for _, _, id in dataset.as_numpy_iterator()] for _ in range(2)]

    first, second = order(1)
    assert sorted(first) == sorted(second) and first != second
    assert order(1) == [first, second]


def test_augmented_views_stay_in_range(frames):
    dataset = clip_dataset("train", frames=frames, count=2, size=32, sampling="random", augment=AUGMENT)
    for view, label, _ in dataset.as_numpy_iterator():
        assert view.shape == (2, 32, 32, 3) and 0 <= view.min() <= view.max() <= 1 and label in (0, 1)


def test_missing_records_are_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"frames\.json: not found"):
        clip_dataset("train", frames=tmp_path, count=4)


@pytest.mark.slow
def test_the_program_on_the_page_learns(frames):
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    assert program.count("\n") < 45
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # More epochs than on the page, because with few clips an epoch has only two steps.
    code = re.sub(r"epochs=\d+", "epochs=30", program)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=frames.parent.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy = float(re.findall(r"test loss and accuracy: \[.*, ([\d.]+)\]", done.stdout)[0])
    assert accuracy >= 0.75
