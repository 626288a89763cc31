import json

import pytest

from pipeline.console import UserError
from pipeline.events.event import Event, as_csv, as_json, as_text, clock_time, file_text, read_events

EVENTS = [Event("a, b.mp4", 1.25, 3.5, 'say "Grüezi"', 0.8765432), Event("c.mp4", 3600.0, 3725.06, "B", 1.0)]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_events_are_read_back(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    path.write_text(file_text(path, EVENTS), encoding="utf-8")
    assert read_events(path) == [EVENTS[0]._replace(confidence=0.876543), EVENTS[1]]
    path.write_text(file_text(path, []))
    assert read_events(path) == []


def test_the_columns_are_those_that_users_script_against():
    assert as_csv(EVENTS[1:]) == "source,start,end,class,confidence\nc.mp4,3600.000,3725.060,B,1.000000\n"
    assert json.loads(as_json(EVENTS[1:])) == [
        {"source": "c.mp4", "start": 3600.0, "end": 3725.06, "class": "B", "confidence": 1.0}
    ]


def test_annotated_events_have_path_and_label_and_no_confidence(tmp_path):
    path = tmp_path / "true.csv"
    path.write_text("path,label,start,end,group\nv.mp4,A,1,2.5,g1\n", encoding="utf-8-sig")
    assert read_events(path) == [Event("v.mp4", 1.0, 2.5, "A", 1.0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.csv", "source,start,end,class\nv,1,x,A\n", "e.csv, line 2: start, end and confidence should be numbers"),
        ("e.csv", "source,start,end,class\nv,2,1,A\n", "e.csv, line 2: from 2 until 1 s"),
        ("e.csv", "source,start,end,class\nv,-1,1,A\n", "line 2: from -1 until 1 s"),
        ("e.csv", "source,start,end,class\nv,nan,1,A\n", "line 2: from nan"),
        ("e.csv", "source,start,end,class,confidence\nv,0,1,A,1.5\n", "with a confidence of 1.5"),
        ("e.csv", "source,start,end\nv,1,2\n", "line 2: has no class"),
        ("e.csv", "start,end,class\n1,2,A\n", "line 2: has no source"),
        ("e.csv", "", "e.csv: is empty"),
        ("e.json", "[", "e.json: not valid JSON"),
        ("e.json", "{}", "e.json: not an array of objects"),
        ("e.json", '[{"source": "v", "class": "A", "start": 0}]', "event 1: start, end"),
    ],
)
def test_files_that_hold_no_events_are_errors(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        read_events(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.csv: not found"):
        read_events(tmp_path / "none.csv")


def test_times_for_people():
    assert [clock_time(seconds) for seconds in (0, 7.24, 59.96, 3599.96, 3725.1)] == [
        "0:00.0",
        "0:07.2",
        "1:00.0",
        "1:00:00.0",
        "1:02:05.1",
    ]
    assert as_text(Event("v", 3, 5, "A", 0.987)).split() == ["0:03.0", "-", "0:05.0", "99%", "A"]
