"""Answers as people and programs read them."""

import csv
import json

import numpy as np
import pytest

from pipeline.inference.answers import Answer, Moment, Ranked, header, rank, show_answer, show_moment
from pipeline.inference.stepper import softmax

ANSWER = Answer("a, b/clip.mp4", (Ranked("throwing ball (not baseball)", 0.9), Ranked('a "b"', 0.0512345678)), 23, 4.6)


def test_the_best_come_first_and_equals_by_label():
    assert rank(np.array([0.1, 0.3, 0.3, 0.3]), "abcd", 3) == (("b", 0.3), ("c", 0.3), ("d", 0.3))
    assert [one.name for one in rank(np.array([0.2, 0.5, 0.3], np.float32), "abc", 9)] == ["b", "c", "a"]


def test_softmax_holds_for_large_logits():
    found = softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3)]], np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


def test_text_is_aligned():
    assert show_answer(ANSWER, "text").split("\n") == [
        "a, b/clip.mp4  (4.6 s, 23 frames)",
        "  throwing ball (not baseball)   90.0%",
        '  a "b"                           5.1%',
    ]
    assert "(0.2 s, 1 frame)" in show_answer(ANSWER._replace(frames=1, seconds=0.2), "text")


def test_json_is_an_object_a_line():
    line = show_answer(ANSWER, "json")
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
    assert json.loads(show_answer(Answer("x", error="broken"), "json")) == {"source": "x", "error": "broken"}


def test_csv_is_a_table():
    lines = [
        header("csv", top=2, stream=False),
        show_answer(ANSWER, "csv"),
        show_answer(Answer("x", error="bad, bad"), "csv", top=2),
    ]
    first, second = list(csv.DictReader(lines))
    assert first["source"] == "a, b/clip.mp4" and first["error"] == ""
    assert (first["class_2"], first["probability_2"]) == ('a "b"', "0.051235")
    assert (second["source"], second["error"], second["frames"], second["class_2"]) == ("x", "bad, bad", "", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_only_tables_have_a_header(form):
    assert header(form, top=5, stream=False) is None


def test_a_moment_is_a_line():
    moment = Moment("s", 12.4, (Ranked("b", 0.75), Ranked("a", 0.25)))
    assert show_moment(moment, "text") == "  12.40 s   75.0%  b"
    record = json.loads(show_moment(moment, "json"))
    assert (record["source"], record["seconds"], record["class"], record["probability"]) == ("s", 12.4, "b", 0.75)
    assert record["top"][1] == {"class": "a", "probability": 0.25}
    assert header("csv", top=5, stream=True) == "source,seconds,class,probability"
    assert show_moment(moment, "csv") == "s,12.400,b,0.750000"
