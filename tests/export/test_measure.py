"""The measurements of exported networks, on streams with known predictions."""

import numpy as np

from pipeline.artifacts import ExportRow
from pipeline.export.measure import predict_streams, time_steps
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
        return np.array([0.1, 0.0]) if self.seen < self.switch else np.array([0.0, np.log(3.0)])


def clip(label: int, views: int = 2, frames: int = 4) -> dict:
    name = f"c{label}".encode()
    return {"views": np.zeros((views, frames, 8, 8, 3), np.float32), "label": label, "clip": name, "group": b"g"}


def test_the_probabilities_are_those_after_each_views_last_frame():
    predictions = predict_streams({"early": CountingStream(3), "late": CountingStream(5)}, [clip(0), clip(1)], 2, "counting")
    assert predictions.labels == [0, 1] and predictions.clips == ["c0", "c1"] and predictions.groups == ["g", "g"]
    np.testing.assert_allclose(predictions.probabilities["early"], [[0.25, 0.75]] * 2)
    assert (predictions.probabilities["late"].argmax(axis=1) == 0).all()


def test_agreement_is_computed_after_each_frame_of_the_views():
    predictions = predict_streams({"early": CountingStream(3), "late": CountingStream(4)}, [clip(0), clip(1)], 2, "counting")
    assert predictions.top1_by_frame["early"].shape == (2 * 2, 4)
    assert predictions.agreement_by_frame("early", "late") == [1, 1, 0, 1]
    assert predictions.agreement_by_frame("early", "early") == [1, 1, 1, 1]


def test_single_steps_are_timed():
    one, other = CountingStream(1), CountingStream(1)
    times = time_steps({"one": one, "other": other}, np.zeros((8, 8, 3), np.float32), rounds=3, steps=5)
    assert set(times) == {"one", "other"} and all(0 < value < 50 for value in times.values())
    assert one.seen == other.seen == 5 + 3 * 5


def test_the_table_is_aligned_and_has_dashes_for_missing_values():
    known = {"bytes": 3_100_000, "clips": 40, "groups": 9, "test_top1": 0.95, "agreement": 0.98765}
    measured = {"agreement_at_end": 0.99, "milliseconds_a_frame": 2.345, "state_bytes": 1_200_000}
    row = ExportRow(
        format="int8", file="int8.tflite", test_top1_low=0.9, test_top1_high=1.0, accuracy_drop=0.0123, **known, **measured
    )
    bare = ExportRow(
        format="saved_model", file="saved_model", test_top1_low=None, test_top1_high=None, accuracy_drop=0.0, **known
    )
    lines = table([row, bare]).splitlines()
    assert " ".join(lines[1].split()) == "int8 3.10 MB 0.950 0.900 to 1.000 +0.012 0.9877 0.9900 2.35 1.20 MB"
    assert lines[2].split() == ["saved_model", "3.10", "MB", "0.950", "–", "0.000", "0.9877", "–", "–", "–"]
    assert len(lines) == 3
