"""Segments of recordings in listings: what is read, refused and said; their names and places; clips of unlabelled time."""

from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.files import sha256
from pipeline.settings import Background
from pipeline.sources.kinds import open_source
from pipeline.sources.listed import listed_clips
from pipeline.sources.manifest import segment_of
from pipeline.sources.plan import Plan, plan_clips
from pipeline.sources.segments import _shares, _spread, parse_segment
from pipeline.sources.source import Found
from pipeline.video.segment import Segment
from stages import download
from tests.downloading import workspace  # noqa: F401
from tests.sources.clips import MP4, data, speed, split, write_files
from tests.video.videos import write_video


@pytest.fixture
def videos(tmp_path) -> Path:
    """Recordings of 10 s: a.avi, day/a.avi, b.avi; UCF names; and a file whose header states no length."""
    root = tmp_path / "videos"
    (root / "day").mkdir(parents=True)
    write_video(root / "a.avi", 10, 100)
    for name in ("day/a.avi", "b.avi", "v_Run_g03_c01.avi"):
        (root / name).write_bytes((root / "a.avi").read_bytes())
    return write_files(root, "unknown.mp4", content=MP4)


def listed(videos: Path, *rows: str, columns: str = "path,label,start,end", background: Background | None = None) -> Found:
    path = videos / "list.csv"
    path.write_text("\n".join([columns, *rows, ""]))
    return listed_clips(str(videos), [str(path)], background)


def segments(found: Found, label: str | None = None) -> list[tuple]:
    return [(clip.source, clip.segment) for clip in found.clips if label in (None, clip.category)]


def message(videos: Path, *rows: str, **options) -> str:
    with pytest.raises(UserError) as caught:
        listed(videos, *rows, **options)
    assert "\n" not in str(caught.value) and caught.value.advice
    return caught.value.message


@pytest.mark.parametrize(
    ("start", "end", "segment"),
    [
        ("12.4", "15", (12.4, 15.0)),
        ("1:12.4", "01:15", (72.4, 75.0)),
        ("1:02:03.004", "1:02:03.5", (3723.004, 3723.5)),
        ("0:59:59,9", "60:00", (3599.9, 3600.0)),
        ("12,4", "15,25", (12.4, 15.25)),
        ("", "15", (0.0, 15.0)),
        ("3", "", (3.0, None)),
        ("0", "", (0.0, None)),
        ("2e1", "21", (20.0, 21.0)),
        (".5", "1.", (0.5, 1.0)),
        ("0", "0.0334", (0.0, 0.0334)),
    ],
)
def test_times(start, end, segment):
    assert parse_segment(start, end) == Segment(*segment)


def test_a_row_without_times_is_the_whole_file():
    assert parse_segment("", "") is None


@pytest.mark.parametrize(
    ("start", "end", "what"),
    [
        ("5", "4", "the end 4 is not after the start 5"),
        ("5", "5.0", "the end 5.0 is not after the start 5"),
        ("-1", "4", "the start -1 is negative"),
        ("", "-0:04", "the end -0:04 is negative"),
        ("soon", "4", "the start 'soon' is not a time"),
        ("1", "nan", "the end 'nan' is not a time"),
        ("1", "inf", "the end 'inf' is not a time"),
        ("1:60", "4", "the start '1:60' is not a time"),
        ("1:60:00", "4", "the start '1:60:00' is not a time"),
        ("00:01:02:03", "4", "the start '00:01:02:03' is not a time"),
        ("", "0", "the end 0 is not after the start 0"),
        ("1", "1.03", "from 1 to 1.03 is shorter than a frame"),
    ],
)
def test_times_that_are_none(start, end, what):
    with pytest.raises(ValueError, match="^" + what.replace("(", r"\(")):
        parse_segment(start, end)


@pytest.mark.parametrize(
    "columns",
    [
        "path,label,start,end",
        "video,class,start_time,end_time",
        "file,tag,t_start,t_end",
        "path,action,Begin,End",
        "path,label,Start (s),End [sec]",
    ],
)
def test_rows_are_segments_by_any_name_of_the_columns(videos, columns):
    found = listed(videos, "a.avi,run,1,2.5", "b.avi,walk,,", "a.avi,walk,2.5,", columns=columns)
    assert segments(found) == [("a.avi", (1.0, 2.5)), ("b.avi", None), ("a.avi", (2.5, None))]
    assert found.layout.endswith(": 2 segments, 1 whole video") and "start from" in found.layout
    assert {clip.group for clip in found.clips if clip.source == "a.avi"} == {"a.avi"}
    assert not found.notes and not found.warnings


def test_a_recording_is_a_group_unless_a_column_or_its_name_gives_one(videos):
    found = listed(videos, "v_Run_g03_c01.avi,run,1,2", "v_Run_g03_c01.avi,run,3,4", "day/a.avi,run,1,2")
    assert [clip.group for clip in found.clips] == ["Run_g03", "Run_g03", "day/a.avi"]
    columns = "path,label,start,end,group"
    assert [clip.group for clip in listed(videos, "a.avi,run,1,2,me", "a.avi,run,3,4,", columns=columns).clips] == ["me", "a.avi"]


def test_kinetics_files_are_trimmed_already(videos):
    columns = "label,youtube_id,time_start,time_end"
    (videos / "day/a.avi").unlink()
    found = listed(videos, "run,a,2,12", "run,gone,2,12", columns=columns)
    assert segments(found) == [("a.avi", None)]
    assert "Kinetics' columns: path from 'youtube_id'" in found.layout and "start" not in found.layout


def test_all_bad_rows_are_counted_and_the_first_named(videos):
    rows = ["a.avi,run,2,1", "a.avi,run,1,2", "b.avi,run,x,2", "b.avi,run,5,-6", "b.avi,run,7,7"]
    assert message(videos, *rows) == (
        f"data.listing = {videos}/list.csv: 4 of 5 rows state no usable segment (row 2: the end 1 is not after the start 2, "
        "row 4: the start 'x' is not a time, row 5: the end -6 is negative, ...)"
    )


def test_a_start_past_the_end_is_an_error(videos):
    assert message(videos, "a.avi,run,9.99,", "a.avi,run,10,11", "b.avi,run,12,").endswith(
        "2 of 3 rows state no usable segment (row 3: the start 10 is past the end of a.avi, which lasts 10.00 s, "
        "row 4: the start 12 is past the end of b.avi, which lasts 10.00 s)"
    )
    assert segments(listed(videos, "unknown.mp4,run,1000,1001")) == [("unknown.mp4", (1000, 1001))]


def test_an_end_past_the_end_is_said(videos):
    found = listed(videos, "a.avi,run,1,10.05", "a.avi,walk,0,1", "b.avi,run,1,10.2", "b.avi,walk,0,1")
    assert found.notes == ["1 segment ends after its recording and is cut there (row 4: 10.2 of 10.00 s)"]


def test_each_recording_is_opened_once(videos, monkeypatch):
    opened = []
    monkeypatch.setattr("pipeline.sources.segments._header_seconds", lambda path: opened.append(path.name) or 10.0)
    listed(videos, "a.avi,run,1,2", "a.avi,run,3,4", "b.avi,walk,,", "unknown.mp4,run,1,2")
    assert sorted(opened) == ["a.avi", "unknown.mp4"]


def test_overlaps_are_said(videos):
    rows = [
        "a.avi,run,1,3",
        "a.avi,walk,2,4",
        "a.avi,run,2.5,2.9",
        "a.avi,walk,4,5",
        "b.avi,run,2,",
        "b.avi,run,9.5,12",
        "b.avi,run,0,2.03",
    ]
    found = listed(videos, *rows)
    assert found.notes[-1] == "2 pairs of segments of the same label overlap (row 2 and row 4 of a.avi, row 6 and row 7 of b.avi)"
    (one,) = found.warnings
    assert one.status == "warning" and one.message == (
        "2 pairs of segments of different labels overlap, so the same frames are in two classes "
        "(row 2 and row 3 of a.avi, row 3 and row 4 of a.avi)"
    )


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (["a.avi,run,1,2", "a.avi,walk,1.0,2.0"], "row 3: 1.000-2.000 s of a.avi is already listed in row 2"),
        (["a.avi,run,,", "a.avi,walk,1,2"], "row 3: a.avi is listed in part, and the whole of it in row 2"),
        (["a.avi,run,1,2", "a.avi,walk,,"], "row 3: a.avi is listed whole, and a segment of it in row 2"),
        (["a.avi,run,,", "a.avi,walk,,"], "row 3: a.avi is already listed in row 2"),
    ],
)
def test_a_part_is_listed_once(videos, rows, what):
    assert message(videos, *rows).endswith(what)


def test_folders_of_images_have_no_segments(videos):
    write_files(videos, "frames/1.jpg", "frames/2.jpg", content=b"1")
    assert "frames is a folder of images" in message(videos, "frames,run,0,1")


def planned(videos: Path, *rows: str, columns: str = "path,label,start,end,split", scheme: str = "auto", **changes) -> Plan:
    (videos / "list.csv").write_text("\n".join([columns, *rows, ""]))
    source = data(folder=str(videos), listing=str(videos / "list.csv"), split=split(scheme=scheme), **changes)
    with open_source(source, speed()) as opened:
        return plan_clips(opened, source, 1)


SPLIT_ROWS = [
    f"{path},{label},{start},{start + 0.5},{part}"
    for path, part in (("a.avi", "train"), ("day/a.avi", "validation"), ("b.avi", "test"))
    for start, label in ((1, "run"), (2.25, "walk"), (9, "run"))
]


def test_names_are_unique_and_sort_by_time(videos):
    names = [clip.clip for clip in planned(videos, *SPLIT_ROWS).parts["train"]]
    assert names == ["run/a@00001.000-00001.500.avi", "run/a@00009.000-00009.500.avi", "walk/a@00002.250-00002.750.avi"]
    plan = planned(videos, *SPLIT_ROWS)
    assert plan.parts["validation"][0].clip == "run/day__a@00001.000-00001.500.avi", "as two folders hold a file of this name"
    assert plan.parts["test"][0].clip == "run/b@00001.000-00001.500.avi"
    again = planned(videos, *SPLIT_ROWS[::-1])
    assert again.parts == plan.parts


def test_download_places_a_recording_once(videos, monkeypatch):
    hashed = []
    monkeypatch.setattr("pipeline.sources.placing.sha256", lambda path: hashed.append(path.name) or sha256(path))
    (videos / "b.avi").write_bytes((videos / "b.avi").read_bytes() + b"other")
    (videos / "list.csv").write_text("\n".join(["path,label,start,end,split", *SPLIT_ROWS, "v_Run_g03_c01.avi,run,,,test", ""]))
    source = data(folder=str(videos), listing=str(videos / "list.csv"), split=split(scheme="given", duplicates="ignore"))
    done = download.run(source, 1, speed())
    placed = sorted(path.relative_to("data/clips").as_posix() for path in Path("data/clips").rglob("*") if path.is_file())
    assert placed == [".recordings/a.avi", ".recordings/b.avi", ".recordings/day/a.avi", "run/v_Run_g03_c01.avi"]
    assert Path("data/clips/.recordings/b.avi").samefile(videos / "b.avi")
    assert len(done.manifest) == 10 and len(hashed) <= 4
    for row in done.manifest.itertuples():
        assert sha256(Path("data/clips") / row.file) == row.sha256
        assert (row.file == row.clip) == (segment_of(row.start, row.end) is None)
    sizes = {path: (videos / path).stat().st_size for path in ("a.avi", "b.avi", "day/a.avi", "v_Run_g03_c01.avi")}
    assert done.fetched + done.reused == sum(sizes.values())
    table = download.summary(done).splitlines()
    assert table[1].split() == ["train", "2", "3", "1", f"{sizes['a.avi'] / 1e6:.1f}", "MB"]


BACKGROUND = Background(label="none", seconds=1.0, per_class=None)


def background(**changes) -> Background:
    return BACKGROUND.model_copy(update=changes)


def test_background_fills_unlabelled_time(videos):
    found = listed(videos, "a.avi,run,1.5,4", "a.avi,walk,3.5,6.7", "a.avi,walk,2,3", "b.avi,run,0,", background=BACKGROUND)
    made = segments(found, "none")
    assert made == [("a.avi", (0.25, 1.25)), ("a.avi", (6.75, 7.75)), ("a.avi", (7.85, 8.85)), ("a.avi", (8.95, 9.95))]
    assert found.notes == ["class none: 4 clips of 1 s from the unlabelled time of 1 recording, in which 4 fit"]
    assert {clip.group for clip in found.clips if clip.category == "none"} == {"a.avi"}
    again = listed(videos, "b.avi,run,0,", "a.avi,walk,2,3", "a.avi,walk,3.5,6.7", "a.avi,run,1.5,4", background=BACKGROUND)
    assert segments(again, "none") == made, "whatever the order of the rows"


def test_background_is_limited_and_spread(videos):
    rows = ["a.avi,run,5,6", "b.avi,run,1,10", "day/a.avi,walk,5,6"]
    made = segments(listed(videos, *rows, background=background(per_class=7)), "none")
    assert [source for source, _ in made] == ["a.avi"] * 3 + ["b.avi"] + ["day/a.avi"] * 3
    assert [segment.start for source, segment in made if source == "a.avi"] == [1, 4, 8]
    assert len(segments(listed(videos, *rows, background=background(per_class=1)), "none")) == 1


def test_no_background_clip_overlaps_a_segment_or_another(videos):
    rows = ["a.avi,run,0.3337,1.1111", "a.avi,run,4.4444,4.9", "a.avi,walk,4.8,5.55555", "b.avi,run,9.1,9.2"]
    found = listed(videos, *rows, background=background(seconds=0.7))
    for source in ("a.avi", "b.avi"):
        spans = sorted(clip.segment for clip in found.clips if clip.source == source and clip.category == "none")
        spans = sorted([*spans, *((0.3337, 1.1111), (4.4444, 5.55555))] if source == "a.avi" else [*spans, (9.1, 9.2)])
        assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(spans)) and spans[-1][1] <= 10


def test_arithmetic_of_background():
    assert _spread(0, 3000, 1000) == [0, 1000, 2000] and _spread(0, 2999, 1000) == [249, 1749] and _spread(5, 900, 1000) == []
    assert _shares({"a": 5, "b": 1, "c": 9}, None) == {"a": 5, "b": 1, "c": 9} == _shares({"a": 5, "b": 1, "c": 9}, 15)
    assert _shares({"a": 5, "b": 1, "c": 9}, 7) == {"a": 3, "b": 1, "c": 3}
    assert _shares({"a": 5, "b": 0, "c": 9}, 2) == {"a": 1, "b": 0, "c": 1}
    assert _shares(dict.fromkeys("abcde", 9), 2) == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}


def test_recordings_of_unknown_length_or_two_splits_give_no_background(videos):
    columns = "path,label,start,end,split"
    rows = ["a.avi,run,0,1,train", "a.avi,run,8,9,test", "b.avi,run,0,1,test", "unknown.mp4,run,0,1,train"]
    found = listed(videos, *rows, columns=columns, background=BACKGROUND)
    assert {(clip.source, clip.split) for clip in found.clips if clip.category == "none"} == {("b.avi", "test")}
    assert found.notes[1:] == [
        "the unlabelled time of 1 recording (a.avi) is not used, because their rows have different groups or splits",
        "the unlabelled time of 1 recording (unknown.mp4) is not used, because their headers state no length",
    ]


def test_errors_of_background(videos):
    assert "listed in segments, and there are none" in message(videos, "a.avi,run,,", background=BACKGROUND)
    what = message(videos, "a.avi,run,0,9.5", "b.avi,run,1.2,", background=background(seconds=1.5))
    assert what == "data.background: no unlabelled time of 1.5 s in 2 recordings; the longest is 1.2 s"
    with (
        open_source(data(folder=str(videos), background=BACKGROUND), speed()) as source,
        pytest.raises(UserError, match="no listing"),
    ):
        source.list_clips()
    with pytest.raises(ValueError, match=r"data\.background needs a listing"):
        data(archive="a.zip", background=BACKGROUND)
    assert "cannot be a class" in message(videos, "a.avi,run,0,1", background=background(label="a/b"))


def test_background_is_a_class_whatever_is_chosen(videos):
    two = planned(videos, *SPLIT_ROWS, num_classes=1, background=BACKGROUND)
    assert two.classes == ["none", "run"] and {clip.category for clip in two.parts["test"]} == {"none", "run"}
    assert planned(videos, *SPLIT_ROWS, classes=["walk"], background=BACKGROUND).classes == ["none", "walk"]
    assert planned(videos, *SPLIT_ROWS, classes=["walk", "none"], background=BACKGROUND).classes == ["none", "walk"]
    names = {clip.clip for clip in two.clips if clip.category == "none"}
    assert names == {clip.clip for clip in planned(videos, *SPLIT_ROWS, background=BACKGROUND).clips if clip.category == "none"}
    labelled = [segment_of(*row.split(",")[2:4]) for row in SPLIT_ROWS]
    for clip in two.clips:
        if clip.category == "none":
            assert all(clip.segment.end <= one.start or one.end <= clip.segment.start for one in labelled), "also of class walk"


def test_background_joins_a_listed_class_and_numbers_get_names(videos):
    joined = planned(videos, *SPLIT_ROWS, background=background(label="walk"))
    assert joined.classes == ["run", "walk"]
    assert any("they join the 3 listed clips of that label" in note.message for note in joined.notes)
    rows = [row.replace("run", "0").replace("walk", "1") for row in SPLIT_ROWS]
    (videos / "names.txt").write_text("rennen\ngehen\n")
    named = planned(videos, *rows, class_names=str(videos / "names.txt"), background=BACKGROUND)
    assert named.classes == ["gehen", "none", "rennen"]
