import pytest

from pipeline.console import UserError
from pipeline.events.event import Event, file_text
from pipeline.events.reading import read_events

EVENTS = [Event("a, b.mp4", 1.25, 3.5, 'say "Grüezi"', 0.8765432), Event("c.mp4", 3600.0, 3725.06, "B", 1.0)]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_events_are_read_back(tmp_path, suffix):
    path = tmp_path / f"events{suffix}"
    path.write_text(file_text(path, EVENTS), encoding="utf-8")
    assert read_events(path) == [EVENTS[0]._replace(confidence=0.876543), EVENTS[1]]
    path.write_text(file_text(path, []))
    assert read_events(path) == []


def test_annotated_events_have_path_and_label_and_no_confidence(tmp_path):
    path = tmp_path / "true.csv"
    path.write_text("path,label,start,end,group\nv.mp4,A,1,2.5,g1\n", encoding="utf-8-sig")
    assert read_events(path) == [Event("v.mp4", 1.0, 2.5, "A", 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        "path,label,start,end\nv.mp4,A,0,3725.5\n",
        "video;action;begin time;end time\nv.mp4;A;0:00;1:02:05,5\n",
        "File\tTag\tStart (s)\tEnd (s)\tId\nv.mp4\tA\t0\t3725.5\t7\n",
        "source, start, end, class, id\nv.mp4, 0, 62:05.5, A, 7\n",
    ],
)
def test_annotated_events_are_read_like_a_listing(tmp_path, text):
    (tmp_path / "true.csv").write_text(text)
    assert read_events(tmp_path / "true.csv") == [Event("v.mp4", 0.0, 3725.5, "A", 1.0)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.csv", "source,start,end,class\nv,1,x,A\n", "e.csv, line 2: the end 'x' is not a time"),
        ("e.csv", "source,start,end,class\nv,2,1,A\n", "e.csv, line 2: from 2 until 1 s"),
        ("e.csv", "source,start,end,class\nv,-1,1,A\n", "line 2: the start -1 is negative"),
        ("e.csv", "source,start,end,class\nv,nan,1,A\n", "line 2: the start 'nan' is not a time"),
        ("e.csv", "source,start,end,class,confidence\nv,0,1,A,1.5\n", "with a confidence of 1.5"),
        ("e.csv", "source,start,end\nv,1,2\n", "line 2: has no class"),
        ("e.csv", "start,end,class\n1,2,A\n", "line 2: has no source"),
        ("e.csv", "", "e.csv: is empty"),
        ("e.json", "[", "e.json: not valid JSON"),
        ("e.json", "{}", "e.json: not an array of objects"),
        ("e.json", '[{"source": "v", "class": "A", "start": 0}]', "event 1: has no end"),
        ("e.csv", "source,start,end,class\nv,1,,A\n", "line 2: has no end"),
        ("e.csv", "source,start,end,class,confidence\nv,0,1,A,high\n", "line 2: could not convert string to float: 'high'"),
        ("e.csv", "path;label;start;end\nv;A;1:75;2:00\n", "line 2: the start '1:75' is not a time"),
    ],
)
def test_files_that_hold_no_events_are_errors(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        read_events(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.csv: not found"):
        read_events(tmp_path / "none.csv")
