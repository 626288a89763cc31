"""The prediction after each frame, for a stream whose logits are the sum of what it has seen."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.explanation import running
from tests.explanation.clips import grey_jpegs


def record(levels: list[int]) -> bytes:
    from pipeline.video.records import serialize_clip

    return serialize_clip("a", 0, "class 0", "g", grey_jpegs(levels), [200_000 * k for k in range(len(levels))])


def summing_stream(classes: int):
    """Logits: the sum of the brightness of all frames for class 1, zero for the others."""

    def call(image, states):
        assert image.shape == (1, 1, 48, 48, 3)
        total = states + image.numpy().mean()
        logits = np.zeros((1, classes), np.float32)
        logits[0, 1] = total
        return SimpleNamespace(numpy=lambda: logits), total

    names = [f"class {number}" for number in range(classes)]
    return SimpleNamespace(size=48, classes=names, init_states=lambda: 0.0, call=call)


def test_the_states_are_kept_from_frame_to_frame():
    levels = [51, 102, 204]
    found = running.run_clip(summing_stream(2), record(levels), [0, 0.2, 0.4], 0, 1)
    assert found.classes == ["class 1", "class 0"] and found.seconds == [0, 0.2, 0.4] and found.frames == 3
    expected = [softmax([0, total])[1] for total in (0.2, 0.6, 1.4)]
    assert [row[0] for row in found.probabilities] == pytest.approx(expected, abs=2e-3)
    assert [sum(row) for row in found.probabilities] == pytest.approx([1, 1, 1], abs=1e-3)


def test_of_a_long_clip_the_first_frames_are_run(monkeypatch):
    monkeypatch.setattr(running, "MAX_FRAMES", 2)
    found = running.run_clip(summing_stream(2), record([10, 20, 30]), [0, 0.2, 0.4], 0, 1)
    assert len(found.probabilities) == len(found.seconds) == 2 and found.frames == 3


def test_classes_are_the_predicted_the_actual_and_the_most_probable_others():
    values = np.array([[0.1, 0.0, 0.2, 0.3, 0.4, 0.0], [0.1, 0.0, 0.2, 0.5, 0.2, 0.0]])
    assert running.choose_classes(values, label=1, predicted=5) == [5, 1, 3, 4]
    assert running.choose_classes(values[:, :2], label=0, predicted=1) == [1, 0]
