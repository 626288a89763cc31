import json

from pipeline.events.event import Event, as_csv, as_json, as_text, clock_time

EVENTS = [Event("a, b.mp4", 1.25, 3.5, 'say "Grüezi"', 0.8765432), Event("c.mp4", 3600.0, 3725.06, "B", 1.0)]


def test_the_columns_are_those_that_users_script_against():
    assert as_csv(EVENTS[1:]) == "source,start,end,class,confidence\nc.mp4,3600.000,3725.060,B,1.000000\n"
    assert json.loads(as_json(EVENTS[1:])) == [
        {"source": "c.mp4", "start": 3600.0, "end": 3725.06, "class": "B", "confidence": 1.0}
    ]


def test_times_for_people():
    assert [clock_time(seconds) for seconds in (0, 7.24, 59.96, 3599.96, 3725.1)] == [
        "0:00.0",
        "0:07.2",
        "1:00.0",
        "1:00:00.0",
        "1:02:05.1",
    ]
    assert as_text(Event("v", 3, 5, "A", 0.987)).split() == ["0:03.0", "-", "0:05.0", "99%", "A"]
