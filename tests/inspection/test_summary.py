from pathlib import Path

from pipeline.inspection.content import Finding
from pipeline.inspection.summary import LINES, describe_seconds, summarise
from tests.inspection.contents import inspection, video


def test_lines():
    text = summarise(inspection([video("jump/1.mp4"), video("run/2.mp4")]), Path("out"))
    assert text.splitlines() == [
        "/videos: 2 videos, 2 usable clips, 8.0 s, 2.0 MB",
        "layout <class>/<video>",
        "",
        "  jump       1 clips   50.0%      4.0 s  median   4.0 s      5 groups",
        "  run        1 clips   50.0%      4.0 s  median   4.0 s      5 groups",
        "",
        "groups: stem (every class has at least 3)",
        "nothing to look at",
        "",
        "page out/index.html, content out/inspection.json, listing out/listing.csv (2 rows)",
        "next:",
        "  cp inspection/listing.csv /videos/listing.csv",
        "  dvc exp run -S data=folder",
    ]


def test_however_much_there_is_at_most_forty_lines_and_the_next_steps_whole():
    videos = [video(f"class{number:03d}/1.mp4") for number in range(101)]
    findings = [Finding(kind=f"k{n}", status="warning", message="m" * 500, advice="a") for n in range(30)]
    step = "dvc exp run " + "x" * 300
    lines = summarise(inspection(videos, findings=findings, next_steps=[step] * 4), Path("out")).splitlines()
    assert len(lines) <= LINES
    assert lines[-1] == "  " + step
    shown = sum(line.startswith("warning") for line in lines)
    assert f"and {30 - shown} more on the page" in lines
    assert "  and 94 classes more, of 1 clip each" in lines


def test_one_of_a_kind():
    lines = summarise(inspection([video("1.mp4", label="")]), Path("out")).splitlines()
    assert lines[0] == "/videos: 1 video, 1 usable clip, 4.0 s, 1.0 MB" and "(1 row)" in lines[-4]
    videos = [video(f"class{number}/{n}.mp4") for number in range(9) for n in range(10 - number)]
    assert "  and 2 classes more, of 2 to 3 clips" in summarise(inspection(videos), Path("out"))


def test_labels_that_are_missing_are_counted():
    assert "(1 row, 1 without a label)" in summarise(inspection([video("1.mp4", label="")], unlabelled=1), Path("out"))


def test_durations():
    assert [describe_seconds(value) for value in (7.23, 119, 120, 7100, 9000, None)] == [
        "7.2 s",
        "119.0 s",
        "2 min",
        "118 min",
        "2.5 h",
        "unknown",
    ]
