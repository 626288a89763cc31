"""The measurements of exported networks, on streams with known predictions."""

import numpy as np
import pytest

from pipeline.artifacts import ExportRow
from pipeline.export.measure import Agreement, predict_streams, time_steps
from pipeline.export.table import table


class CountingStream:
    """Predicts class 0 before frame number `switch` since the last reset, then class 1."""

    state_bytes = 8

    def __init__(self, switch: int):
        self.switch = switch
        self.reset()

    def reset(self):
        self.seen = 0

    def step(self, image):
        self.seen += 1
        return np.array([np.log(3.0), 0.0]) if self.seen < self.switch else np.array([0.0, np.log(3.0)])


def clip(label: int, views: int = 2, frames: int = 4) -> dict:
    name = f"c{label}".encode()
    return {"views": np.zeros((views, frames, 8, 8, 3), np.float32), "label": label, "clip": name, "group": b"g"}


class RecordedStream:
    """Gives these logits (T, N), one after the other since the last reset."""

    state_bytes = 8

    def __init__(self, probabilities: list[list[float]]):
        self.logits = np.log(probabilities)

    def reset(self):
        self.remaining = iter(self.logits)

    def step(self, image):
        return next(self.remaining)


def compared(reference, other, views: int = 2):
    streams = {"other": other, "reference": reference}
    return predict_streams(streams, [clip(0, views), clip(1, views)], 2, "counting", reference="reference")


def test_the_probabilities_are_those_after_each_views_last_frame():
    predictions = compared(CountingStream(3), CountingStream(5))
    assert predictions.labels == [0, 1] and predictions.clips == ["c0", "c1"] and predictions.groups == ["g", "g"]
    np.testing.assert_allclose(predictions.probabilities["reference"], [[0.25, 0.75]] * 2)
    assert (predictions.probabilities["other"].argmax(axis=1) == 0).all()


def test_agreement_is_computed_after_each_frame_of_the_views():
    predictions = compared(CountingStream(3), CountingStream(4))
    assert predictions.frames == 2 * 2 * 4
    assert predictions.agreement["other"].by_frame == [1, 1, 0, 1]
    assert predictions.agreement["reference"] == Agreement([1, 1, 1, 1], None, 1.0, 0.0)  # two classes: no five


def test_where_the_reference_is_sure_and_how_far_its_class_falls():
    tail = [0.01] * 5
    sure, close, last = [0.70, 0.25, *tail], [0.48, 0.47, *tail], [0.01] * 5 + [0.25, 0.70]
    reference = RecordedStream([sure, close, sure, sure])
    # The same class; the other of two close ones; the reference's class is the second; it is the last but for ties.
    other = RecordedStream([sure, [0.47, 0.48, *tail], [0.25, 0.70, *tail], [0.001, 0.002, 0.003, 0.004, 0.005, 0.25, 0.735]])
    found = compared(reference, other).agreement["other"]
    assert found.by_frame == [1, 0, 0, 0]
    assert found.clear == pytest.approx(1 / 3)  # all frames but the second
    assert found.among_top5 == pytest.approx(3 / 4)
    assert found.confidence_drift == pytest.approx((0 + 0.01 + 0.45 + 0.699) / 4, abs=1e-9)
    assert compared(RecordedStream([close] * 4), RecordedStream([last] * 4)).agreement["other"].clear is None


def test_single_steps_are_timed():
    one, other = CountingStream(1), CountingStream(1)
    times = time_steps({"one": one, "other": other}, np.zeros((8, 8, 3), np.float32), rounds=3, steps=5)
    assert set(times) == {"one", "other"} and all(0 < value < 50 for value in times.values())
    assert one.seen == other.seen == 5 + 3 * 5


def test_the_table_is_aligned_and_has_dashes_for_missing_values():
    known = {"bytes": 3_100_000, "clips": 40, "groups": 9, "test_top1": 0.95, "agreement": 0.98765}
    measured = {
        "agreement_clear": 0.99,
        "agreement_top5": 0.999,
        "confidence_drift": 0.0123,
        "milliseconds_a_frame": 2.345,
        "state_bytes": 1_200_000,
    }
    row = ExportRow(
        format="int8", file="int8.tflite", test_top1_low=0.9, test_top1_high=1.0, accuracy_drop=0.0123, **known, **measured
    )
    bare = ExportRow(
        format="saved_model", file="saved_model", test_top1_low=None, test_top1_high=None, accuracy_drop=0.0, **known
    )
    lines = table([row, bare]).splitlines()
    assert " ".join(lines[1].split()) == "int8 3.10 MB 0.950 0.900 to 1.000 +0.012 0.9877 0.9900 0.9990 0.0123 2.35 1.20 MB"
    assert lines[2].split() == ["saved_model", "3.10", "MB", "0.950", "–", "0.000", "0.9877", "–", "–", "–", "–", "–"]
    assert len(lines) == 3
