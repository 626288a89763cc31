"""Predictions as text, JSON and CSV."""

import csv
import json

import numpy as np
import pytest

from pipeline.inference.formatting import (
    ClassProbability,
    ClipPrediction,
    FramePrediction,
    format_clip,
    format_frame,
    format_header,
    top_classes,
)
from pipeline.inference.models import Answer
from pipeline.inference.stepper import softmax

UNKNOWN = Answer('a "b"', 0.3149, unknown=True)
TOP = (ClassProbability("throwing ball (not baseball)", 0.9), ClassProbability('a "b"', 0.0512345678))
PREDICTION = ClipPrediction("a, b/clip.mp4", TOP, 23, 4.6)


def test_top_classes_are_sorted_and_ties_are_in_the_order_of_labels():
    assert top_classes(np.array([0.1, 0.3, 0.3, 0.3]), "abcd", 3) == (("b", 0.3), ("c", 0.3), ("d", 0.3))
    assert [one.name for one in top_classes(np.array([0.2, 0.5, 0.3], np.float32), "abc", 9)] == ["b", "c", "a"]


def test_softmax_of_large_logits():
    found = softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3)]], np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


def test_text_is_aligned():
    assert format_clip(PREDICTION, "text").split("\n") == [
        "a, b/clip.mp4  (4.6 s, 23 frames)",
        "  throwing ball (not baseball)   90.0%",
        '  a "b"                           5.1%',
    ]
    assert "(0.2 s, 1 frame)" in format_clip(PREDICTION._replace(frames=1, seconds=0.2), "text")


def test_json_is_one_object_per_line():
    line = format_clip(PREDICTION, "json")
    assert "\n" not in line
    assert json.loads(line) == {
        "source": "a, b/clip.mp4",
        "frames": 23,
        "seconds": 4.6,
        "top": [
            {"class": "throwing ball (not baseball)", "probability": 0.9},
            {"class": 'a "b"', "probability": 0.051235},
        ],
    }
    assert json.loads(format_clip(ClipPrediction("x", error="broken"), "json")) == {"source": "x", "error": "broken"}


def test_csv_has_a_header_and_equal_columns():
    lines = [
        format_header("csv", top=2, stream=False),
        format_clip(PREDICTION, "csv"),
        format_clip(ClipPrediction("x", error="bad, bad"), "csv", top=2),
    ]
    first, second = list(csv.DictReader(lines))
    assert first["source"] == "a, b/clip.mp4" and first["error"] == ""
    assert (first["class_2"], first["probability_2"]) == ('a "b"', "0.051235")
    assert (second["source"], second["error"], second["frames"], second["class_2"]) == ("x", "bad, bad", "", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_only_csv_has_a_header(form):
    assert format_header(form, top=5, stream=False) is None


def test_the_prediction_after_a_frame_is_one_line():
    prediction = FramePrediction("s", 12.4, (ClassProbability("b", 0.75), ClassProbability("a", 0.25)))
    assert format_frame(prediction, "text") == "  12.40 s   75.0%  b"
    record = json.loads(format_frame(prediction, "json"))
    assert (record["source"], record["seconds"], record["class"], record["probability"]) == ("s", 12.4, "b", 0.75)
    assert record["top"][1] == {"class": "a", "probability": 0.25}
    assert format_header("csv", top=5, stream=True) == "source,seconds,class,probability"
    assert format_frame(prediction, "csv") == "s,12.400,b,0.750000"


def test_an_unknown_clip_says_so_first():
    unknown = PREDICTION._replace(answer=UNKNOWN)
    assert format_clip(unknown, "text").split("\n")[1] == '  unknown (best: a "b" 31%)'
    assert format_clip(unknown, "text").replace('  unknown (best: a "b" 31%)\n', "") == format_clip(PREDICTION, "text")
    record = json.loads(format_clip(unknown, "json"))
    assert record == json.loads(format_clip(PREDICTION, "json")) | {"class": None, "unknown": True}
    assert list(record) == ["source", "frames", "seconds", "class", "unknown", "top"]


def test_a_known_clip_is_printed_as_before_and_programs_are_told():
    known = PREDICTION._replace(answer=UNKNOWN._replace(unknown=False))
    assert format_clip(known, "text") == format_clip(PREDICTION, "text")
    record = json.loads(format_clip(known, "json"))
    assert (record["class"], record["unknown"]) == ('a "b"', False)


def test_csv_says_in_its_last_column_whether_a_clip_is_unknown():
    lines = [
        format_header("csv", top=2, stream=False, answers=True),
        format_clip(PREDICTION._replace(answer=UNKNOWN), "csv"),
        format_clip(PREDICTION._replace(answer=UNKNOWN._replace(unknown=False)), "csv"),
        format_clip(ClipPrediction("x", error="bad"), "csv", top=2, answers=True),
    ]
    assert lines[0] == format_header("csv", top=2, stream=False) + ",unknown"
    assert [row["unknown"] for row in csv.DictReader(lines)] == ["true", "false", ""]
    assert [row["class_2"] for row in csv.DictReader(lines)] == ['a "b"', 'a "b"', ""]


def test_a_frame_that_is_unknown_says_so():
    prediction = FramePrediction("s", 12.4, (ClassProbability("b", 0.3), ClassProbability("a", 0.25)), Answer("b", 0.3, True))
    assert format_frame(prediction, "text") == "  12.40 s  unknown (best: b 30%)"
    record = json.loads(format_frame(prediction, "json"))
    assert (record["class"], record["unknown"], record["probability"], record["top"][0]["class"]) == (None, True, 0.3, "b")
    assert format_header("csv", top=5, stream=True, answers=True) == "source,seconds,class,probability,unknown"
    assert format_frame(prediction, "csv") == "s,12.400,b,0.300000,true"
    known = prediction._replace(answer=Answer("b", 0.3, False))
    assert format_frame(known, "text") == "  12.40 s   30.0%  b" and json.loads(format_frame(known, "json"))["class"] == "b"
