"""Events as a user of predict and evaluate_events finds them."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from commands import evaluate_events, predict
from pipeline.console import UserError
from pipeline.events import output
from pipeline.events.defaults import Options
from pipeline.events.event import Event
from pipeline.events.output import EventRun
from pipeline.events.reading import read_events
from pipeline.events.run import EventSearch
from tests.inference.small import whole_clips, write_video

LEVELS = [10] * 15 + [245] * 20 + [10] * 15
PLAIN = Options(high=0.6, low=0.5, smooth=0, shortest=0, gap=0)


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "v.avi", LEVELS)


def run(names, **options):
    lines = []
    failed = EventRun(EventSearch.of(whole_clips(None), PLAIN), emit=lines.append, **options).run([str(name) for name in names])
    return lines, failed


def command(monkeypatch, capsys, *arguments):
    """Runs predict with the small classifier; returns (exit status, stdout, stderr)."""
    monkeypatch.setattr(predict, "open_model", lambda *given, **more: whole_clips(None))
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        predict.main()
    return ended.value.code, *capsys.readouterr()


def test_events_are_written_and_shown(video, tmp_path, monkeypatch, capsys):
    given = (
        video,
        "--events",
        "out/e.csv",
        "--timeline",
        "out/e.html",
        "--smooth",
        0,
        "--high",
        0.6,
        "--gap",
        0,
        "--shortest",
        0,
    )
    status, out, err = command(monkeypatch, capsys, *given)
    assert status == 0
    rows = list(csv.DictReader((tmp_path / "out/e.csv").open()))
    assert [row["class"] for row in rows] == ["Dark", "Bright", "Dark"] and {row["source"] for row in rows} == {str(video)}
    assert float(rows[1]["start"]) == pytest.approx(3, abs=0.3) and float(rows[1]["end"]) == pytest.approx(7, abs=0.3)
    assert out.splitlines()[0] == f"{video}: 3 events" and out.splitlines()[2].split()[-1] == "Bright"
    assert "written: out/e.csv" in err and "drawn: out/e.html" in err and "--high 0.6 --low 0.54" in err
    assert "Bright" in (tmp_path / "out/e.html").read_text()


def test_stdout_alone_is_csv_or_json(video, monkeypatch, capsys):
    status, out, _ = command(monkeypatch, capsys, video, "--events", "-")
    assert status == 0 and out.splitlines()[0] == "source,start,end,class,confidence"
    _, lines, _ = command(monkeypatch, capsys, video, "--events", "-", "--json")
    assert [json.loads(line)["class"] for line in lines.splitlines()] == [
        row["class"] for row in csv.DictReader(out.splitlines())
    ]


def test_all_sources_share_a_file_and_one_that_cannot_be_read_is_reported(video, tmp_path, capsys):
    write_video(tmp_path / "w.avi", [245] * 20)
    (tmp_path / "x.avi").write_bytes(b"no video")
    lines, failed = run(
        [video, tmp_path / "x.avi", tmp_path / "none.avi", tmp_path / "w.avi"], file=tmp_path / "e.json", form="json"
    )
    assert failed == 2
    assert [(Path(event.source).name, event.class_name) for event in read_events(tmp_path / "e.json")] == [
        ("v.avi", "Dark"),
        ("v.avi", "Bright"),
        ("v.avi", "Dark"),
        ("w.avi", "Bright"),
    ]
    errors = [json.loads(line) for line in lines if "error" in json.loads(line)]
    assert len(errors) == 2 and "x.avi: FFmpeg cannot read it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["/dev/no-such-camera", "x.avi"])
def test_a_file_of_events_stays_if_no_source_can_be_read(tmp_path, name):
    (tmp_path / "x.avi").write_bytes(b"no video")
    (tmp_path / "live.csv").write_text("events of days")
    _, failed = run([name], file=tmp_path / "live.csv")
    assert failed == 1 and (tmp_path / "live.csv").read_text() == "events of days"


def test_a_timeline_shows_a_single_source(video, tmp_path):
    with pytest.raises(UserError, match="shows a single source, but 2 are given"):
        run([video, video], timeline=tmp_path / "t.html")
    lines, _ = run([video], timeline=tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG") and len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.avi", "--high", "0.5"], "--high is about events: give --events or --timeline, too"),
        (["v.avi", "--gap", "0"], "--gap is about events"),
        (["v.avi", "--events", "e.txt"], "'e.txt' should end with .csv, .json"),
        (["v.avi", "--timeline", "e.pdf"], "'e.pdf' should end with .html, .png"),
        (["v.avi", "--events", "-", "--stream"], "--stream does not go with --events and --timeline"),
        (["v.avi", "--events", "-", "--threshold", "0.5"], "--threshold does not go with --events"),
        (["v.avi", "--events", "-", "--threshold", "0"], "--threshold does not go with --events"),
        (["v.avi", "--events", "-", "--no-unknown"], "--no-unknown does not go with --events"),
        (["v.avi", "--events", "-", "--high", "2"], "'2' is not a number from 0 to 1"),
    ],
)
def test_invalid_arguments_are_rejected_before_a_model_is_opened(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    monkeypatch.setattr(predict, "open_model", lambda *given, **more: pytest.fail("a model was opened"))
    with pytest.raises(SystemExit) as caught:
        predict.main()
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(("option", "name"), [("--events", "e.csv"), ("--timeline", "e.html"), ("--animate", "e.png")])
def test_a_path_that_cannot_be_written_is_an_error_before_a_model_is_opened(tmp_path, monkeypatch, option, name):
    monkeypatch.setattr(predict, "open_model", lambda *given, **more: pytest.fail("a model was opened"))
    (tmp_path / "file").touch()
    (tmp_path / "folder" / name).mkdir(parents=True)
    for folder, reason in (("file", "cannot be written"), ("folder", "is a folder")):
        monkeypatch.setattr(sys, "argv", ["predict", "v.avi", option, f"{folder}/{name}"])
        with pytest.raises(UserError, match=f"{folder}/{name}: {reason}".replace(".", r"\.")):
            predict.main()


class Camera:
    name, live = "camera:0", True

    def frames(self, fps, size):
        for k, level in enumerate(LEVELS):
            yield round(k / fps * 1e6), np.full((size, size, 3), level, np.uint8)
        raise KeyboardInterrupt


def test_events_of_a_live_source_are_appended(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "find_sources", lambda *given: [Camera()])
    for number in (1, 2):
        lines, failed = run(["camera:0"], file=tmp_path / "live.csv")
        assert failed == 0 and [line.split()[-1] for line in lines] == ["Dark", "Bright", "Dark"]
        assert [event.class_name for event in read_events(tmp_path / "live.csv")] == ["Dark", "Bright", "Dark"] * number
    for options, message in (
        ({"file": tmp_path / "e.json"}, "give a .csv file"),
        ({"timeline": tmp_path / "e.html"}, "has no end"),
    ):
        with pytest.raises(UserError, match=message):
            run(["camera:0"], **options)
    monkeypatch.setattr(output, "find_sources", lambda *given: [Camera(), Camera()])
    with pytest.raises(UserError, match="give it alone"):
        run(["camera:0"])


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "found.csv").write_text(
        "source,start,end,class,confidence\n/elsewhere/v.avi,0,4,A,0.9\n/elsewhere/v.avi,8,9,A,0.8\n"
    )
    (tmp_path / "true.csv").write_text("path,label,start,end\nv.avi,A,0,5\n")


def evaluate(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate_events", "found.csv", "true.csv", *arguments])
    evaluate_events.main()
    return capsys.readouterr().out


def test_evaluation_as_json_and_as_a_table(tables, monkeypatch, capsys):
    result = json.loads(evaluate(monkeypatch, capsys, "--duration", "10", "--json"))
    assert result["mean_average_precision"] == {"0.3": 1.0, "0.5": 1.0, "0.7": 1.0}
    assert result["frame_accuracy"] == pytest.approx(0.8) and result["false_alarms_per_hour"] == 360
    assert result["classes"]["A"] | {"average_precision": 0} == {
        "annotated": 1,
        "found": 2,
        "average_precision": 0,
        "recall": 1.0,
        "false_alarms": 1,
    }
    table = evaluate(monkeypatch, capsys, "--duration", "10")
    assert table.splitlines()[1].split() == ["A", "1.000", "1.000", "1.000", "1.000", "1", "2", "1"]
    assert "frame accuracy        0.800" in table and "false alarms an hour  360.0" in table


def test_the_length_comes_from_the_video(tables, video, monkeypatch, capsys):
    assert json.loads(evaluate(monkeypatch, capsys, "--json"))["seconds"] == pytest.approx(10)
    video.unlink()
    with pytest.raises(UserError, match=r"v\.avi: no such file, so its length is unknown; give --duration SECONDS"):
        evaluate(monkeypatch, capsys)


def test_an_ambiguous_file_name_is_an_error(tables, tmp_path, monkeypatch, capsys):
    (tmp_path / "true.csv").write_text("path,label,start,end\na/v.avi,A,0,5\nb/v.avi,A,0,5\n")
    with pytest.raises(UserError, match=r"may be any of a/v\.avi, b/v\.avi"):
        evaluate(monkeypatch, capsys, "--duration", "10")


def match(found, annotated):
    events = [[Event(source, 0, 1, "A") for source in sources] for sources in (found, annotated)]
    return [event.source for event in evaluate_events.match_sources(*events)]


@pytest.mark.parametrize(
    ("found", "annotated", "expected"),
    [
        (["/d/a/v.mp4", "/d/b/v.mp4"], ["b/v.mp4", "a/v.mp4"], ["a/v.mp4", "b/v.mp4"]),
        (["v.mp4"], ["/d/v.mp4"], ["/d/v.mp4"]),
        (["x/v.mp4", "x/v.mp4"], ["y/v.mp4"], ["y/v.mp4"] * 2),
        (["x/v.mp4", "y/v.mp4"], ["x/v.mp4"], ["x/v.mp4", "y/v.mp4"]),  # the second is a video without annotated events
        (["xv.mp4"], ["v.mp4"], ["xv.mp4"]),
    ],
)
def test_sources_match_one_to_one(found, annotated, expected):
    assert match(found, annotated) == expected


def test_two_sources_found_for_an_annotated_one_are_an_error():
    with pytest.raises(UserError, match=r"v\.mp4: may be any of x/v\.mp4, y/v\.mp4"):
        match(["x/v.mp4", "y/v.mp4"], ["v.mp4"])


def test_the_background_class_is_no_event(tables, tmp_path, monkeypatch, capsys):
    (tmp_path / "true.csv").write_text("path,label,start,end\nv.avi,A,0,5\nv.avi,none,5,10\n")
    result = json.loads(evaluate(monkeypatch, capsys, "--duration", "10", "--json", "--background", "none"))
    assert list(result["classes"]) == ["A"] and result["annotated"] == 1 and result["frame_accuracy"] == pytest.approx(0.8)
    with pytest.raises(UserError, match=r"--background B: true\.csv names no such class"):
        evaluate(monkeypatch, capsys, "--duration", "10", "--background", "B")


@pytest.mark.parametrize(("found", "annotated"), [(0, 2), (2, 0)])
def test_one_file_may_have_no_events(tables, tmp_path, monkeypatch, capsys, found, annotated):
    for name, columns, count in (("found", "source,start,end,class", found), ("true", "path,start,end,label", annotated)):
        rows = [f"v.avi,{k},{k + 1},A" for k in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join([columns, *rows]))
    result = json.loads(evaluate(monkeypatch, capsys, "--duration", "10", "--json"))
    expected = {"0.3": 0.0, "0.5": 0.0, "0.7": 0.0} if annotated else None
    assert result["mean_average_precision"] == expected and result["recall"] == (0.0 if annotated else None)
    assert (result["false_alarms"], result["frame_accuracy"]) == (found, pytest.approx(0.8))


def test_a_source_without_annotated_events_counts_as_false_alarms_and_is_named(tables, tmp_path, monkeypatch, capsys):
    (tmp_path / "true.csv").write_text("path,label,start,end\nw.avi,A,0,5\n")
    monkeypatch.setattr(sys, "argv", ["evaluate_events", "found.csv", "true.csv", "--duration", "10"])
    evaluate_events.main()
    out, err = capsys.readouterr()
    assert "true.csv names no event of /elsewhere/v.avi: all found there are false alarms" in err
    assert "in 2 sources" in out and "false alarms an hour  360.0" in out
