"""What is counted of an exported network, on streams whose predictions are known."""

import numpy as np

from pipeline.artifacts import ExportRow
from pipeline.export.measure import predict_streams, time_steps
from pipeline.export.table import table


class Counting:
    """Says class 0 until it has seen `turn` frames since the last reset, then class 1."""

    state_bytes = 8

    def __init__(self, turn: int):
        self.turn = turn
        self.reset()

    def reset(self):
        self.seen = 0

    def step(self, image):
        self.seen += 1
        return np.array([0.1, 0.0]) if self.seen < self.turn else np.array([0.0, np.log(3.0)])


def clip(label: int, views: int = 2, frames: int = 4) -> dict:
    name = f"c{label}".encode()
    return {"views": np.zeros((views, frames, 8, 8, 3), np.float32), "label": label, "clip": name, "group": b"g"}


def test_a_clips_answer_is_that_after_each_views_last_frame():
    found = predict_streams({"early": Counting(3), "late": Counting(5)}, [clip(0), clip(1)], 2, "counting")
    assert found.labels == [0, 1] and found.clips == ["c0", "c1"] and found.groups == ["g", "g"]
    np.testing.assert_allclose(found.probabilities["early"], [[0.25, 0.75]] * 2)
    assert (found.probabilities["late"].argmax(axis=1) == 0).all()


def test_agreement_is_that_after_each_frame_of_the_views():
    found = predict_streams({"early": Counting(3), "late": Counting(4)}, [clip(0), clip(1)], 2, "counting")
    assert found.top1_by_frame["early"].shape == (2 * 2, 4)
    assert found.agreement_by_frame("early", "late") == [1, 1, 0, 1]
    assert found.agreement_by_frame("early", "early") == [1, 1, 1, 1]


def test_times_are_of_single_steps():
    one, other = Counting(1), Counting(1)
    times = time_steps({"one": one, "other": other}, np.zeros((8, 8, 3), np.float32), rounds=3, steps=5)
    assert set(times) == {"one", "other"} and all(0 < value < 50 for value in times.values())
    assert one.seen == other.seen == 5 + 3 * 5


def test_the_table_lines_up_and_leaves_out_what_is_not_there():
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
