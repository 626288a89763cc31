"""Listings in use: separators, columns, paths, splits; and the error of each wrong one."""

from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.sources.listed import listed_clips, listings_in
from pipeline.sources.source import Found
from tests.sources.clips import MP4, write_files


@pytest.fixture
def videos(tmp_path):
    return write_files(tmp_path / "videos", "jump/1.mp4", "jump/2.MOV", "run/v_run_g02_c01.avi", "loose.mp4")


def listed(videos: Path, text: str | bytes, name: str = "list.csv") -> Found:
    path = videos.parent / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return listed_clips(str(videos), [str(path)])


def read(found: Found) -> list[tuple]:
    return [(clip.source, clip.category, clip.group, clip.split) for clip in found.clips]


def test_path_label_group_split(videos):
    rows = ["jump/1.mp4, up ,007,train,3", "loose.mp4,down,,test,3", "run/v_run_g02_c01.avi,down,,validation,1"]
    found = listed(videos, "\n".join(["\ufeffpath,label,group,split,seconds", *rows, ""]))
    assert read(found) == [
        ("jump/1.mp4", "up", "007", "train"),
        ("loose.mp4", "down", "loose.mp4", "test"),
        ("run/v_run_g02_c01.avi", "down", "run_g02", "validation"),
    ]
    assert found.splits.endswith("list.csv")
    assert found.layout.endswith(
        "list.csv: 3 rows by commas, path from 'path', class from 'label', group from 'group', split from 'split'; "
        "columns not used: seconds"
    )
    assert not listed(videos, "path,label\njump/1.mp4,NA\n").splits


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "columns",
    ["video action subject", "Filename Class Person", "video_path tag session", "clip category scene", "file label group"],
)
def test_separators_ends_encodings_and_names_of_columns(videos, separator, ends, encoding, columns):
    rows = [columns.replace(" ", separator), separator.join(["jump/1.mp4", "h\u00fcpfen \u8df3", "p1"]), ""]
    found = listed(videos, ends.join(rows).encode(encoding))
    assert read(found) == [("jump/1.mp4", "h\u00fcpfen \u8df3", "p1", None)]


@pytest.mark.parametrize(("first", "separator"), [("sep=;", ";"), ('"sep=;"', ";"), ("sep=\t", "\t"), ("sep=,", ",")])
def test_excel_says_its_separator_first(videos, first, separator):
    text = f"{first}\r\nfile{separator}class\r\njump/1.mp4{separator}a\r\n"
    assert read(listed(videos, text)) == [("jump/1.mp4", "a", "jump/1.mp4", None)]


@pytest.mark.parametrize(
    ("written", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("VAL", "validation"),
        ("validate", "validation"),
        ("dev", "validation"),
        ("testing", "test"),
    ],
)
@pytest.mark.parametrize("column", ["split", "subset", "set", "usage"])
def test_splits_by_any_name(videos, written, split, column):
    assert listed(videos, f"path,label,{column}\njump/1.mp4,a,{written}\n").clips[0].split == split


def test_a_column_set_that_is_not_a_split(videos):
    found = listed(videos, "path,label,set\njump/1.mp4,a,A\njump/2.MOV,b,B\n")
    assert not found.splits and "columns not used: set" in found.layout


def test_paths_as_windows_writes_them(videos):
    assert read(listed(videos, "path,label\njump\\1.mp4,a\n.\\run\\v_run_g02_c01.avi,b\n")) == [
        ("jump/1.mp4", "a", "jump/1.mp4", None),
        ("run/v_run_g02_c01.avi", "b", "run_g02", None),
    ]
    with pytest.raises(UserError) as caught:
        listed(videos, "path,label\nD:\\data\\videos\\jump\\1.mp4,a\n")
    assert "row 2: D:\\data\\videos\\jump\\1.mp4 is a Windows path with a drive" in str(caught.value)
    assert caught.value.advice == "list it relative to data.folder: jump/1.mp4"


def test_absolute_paths_below_the_folder(videos, tmp_path):
    (tmp_path / "link").symlink_to(videos)
    text = f"path,label\n{videos}/jump/1.mp4,a\n"
    assert read(listed(videos, text))[0][0] == "jump/1.mp4"
    assert read(listed(tmp_path / "link", text))[0][0] == "jump/1.mp4"
    with pytest.raises(UserError, match=r"row 2: /elsewhere/1.mp4 is not below data\.folder"):
        listed(videos, "path,label\n/elsewhere/1.mp4,a\n")


def test_names_found_elsewhere_in_the_folder_are_counted(videos):
    found = listed(videos, "video_id,label\n1,a\n2,b\nv_run_g02_c01.avi,b\n")
    assert [clip.source for clip in found.clips] == ["jump/1.mp4", "jump/2.MOV", "run/v_run_g02_c01.avi"]
    assert found.notes == ["3 listed videos were found by name elsewhere in the folder"]
    write_files(videos, "run/1.mp4")
    with pytest.raises(UserError, match=r"row 2: 1 may be any of jump/1.mp4, run/1.mp4"):
        listed(videos, "video_id,label\n1,a\n")
    # A path with a folder means that folder.
    with pytest.raises(UserError, match=r"1 of 1 files are not found .*row 2: walk/2.MOV"):
        listed(videos, "path,label\nwalk/2.MOV,a\n")


def test_composed_and_decomposed_letters_are_the_same_name(videos):
    write_files(videos, "caf\u00e9/1.mp4".replace("\u00e9", "e\u0301"))
    assert listed(videos, "path,label\ncaf\u00e9/1.mp4,a\n").clips[0].source == "cafe\u0301/1.mp4"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("jump/1.mp4 3\nloose.mp4 0\n", "2 rows by spaces, no line of column names, read as path and label"),
        ("jump/1.mp4,3\nloose.mp4,0\n", "2 rows by commas, no line of column names, read as path and label"),
        (
            "jump/1.mp4\t3\ttrain\nloose.mp4\t0\ttest\n",
            "2 rows by tabs, no line of column names, read as path, label and split",
        ),
    ],
)
def test_text_lists_without_column_names(videos, text, what):
    found = listed(videos, text, "list.txt")
    assert [(clip.source, clip.category) for clip in found.clips] == [("jump/1.mp4", "3"), ("loose.mp4", "0")]
    assert what in found.layout
    assert found.notes == ["the labels are numbers (0, 3); data.class_names can name a file of their names"]


def test_the_official_lists_of_ucf_101(tmp_path):
    names = [f"{c}/v_{c}_g{n:02d}_c01.avi" for c in ("Archery", "Biking") for n in range(1, 5)]
    root = write_files(tmp_path / "UCF-101", *names)
    for name, lines in {
        "trainlist01.txt": [f"{n} {1 if 'Archery' in n else 2}" for n in names if "g01" not in n],
        "testlist01.txt": [n for n in names if "g01" in n],
    }.items():
        (tmp_path / name).write_text("\r\n".join([*lines, ""]))
    found = listed_clips(str(root), [str(tmp_path / "trainlist01.txt"), str(tmp_path / "testlist01.txt")])
    assert {clip.split for clip in found.clips if "g01" in clip.source} == {"test"}
    assert {clip.category for clip in found.clips} == {"1", "2", "Archery", "Biking"}


def test_keras_train_and_test_csv(tmp_path):
    names = {s: [f"v_{c}_g0{n}_c01.avi" for c in ("CricketShot", "Punch") for n in range(3)] for s in ("train", "test")}
    root = tmp_path / "ucf101_top5"
    for split, files in names.items():
        write_files(root, *(f"{split}/{name}" for name in files))
        rows = "".join(f"{number},{name},{name.split('_')[1]}\n" for number, name in enumerate(files))
        (root / f"{split}.csv").write_text(f",video_name,tag\n{rows}")
    listings = listings_in(str(root))
    assert [Path(name).name for name in listings] == ["train.csv", "test.csv"]
    found = listed_clips(str(root), listings)
    assert ("train/v_Punch_g00_c01.avi", "Punch", "Punch_g00", "train") in read(found)
    assert ("test/v_Punch_g00_c01.avi", "Punch", "Punch_g00", "test") in read(found)
    assert found.layout == (
        "listing train.csv: 6 rows by commas, path from 'video_name', class from 'tag'; "
        "test.csv: 6 rows by commas, path from 'video_name', class from 'tag'"
    )
    (root / "test.csv").unlink()
    assert listings_in(str(root)) == []


def test_kinetics(videos):
    write_files(videos, "val/-3B32lodo2M_000059_000069.mp4", "riding a bike/abc.webm")
    rows = ["riding a bike,abc,0,10,train", "air drumming,-3B32lodo2M,59,69,val", "yoga,gone1234567,5,15,train"]
    found = listed(videos, "\n".join(["label,youtube_id,time_start,time_end,split,is_cc", *(f"{row},0" for row in rows)]))
    assert read(found) == [
        ("riding a bike/abc.webm", "riding a bike", "abc", "train"),
        ("val/-3B32lodo2M_000059_000069.mp4", "air drumming", "-3B32lodo2M", "validation"),
    ]
    assert "Kinetics' columns: path from 'youtube_id', class from 'label'" in found.layout
    assert found.left_out.line() == "left out: 1 listed video that is absent (gone1234567)"


def test_listed_folders_of_images(videos):
    write_files(videos, *(f"frames/a/{n}.jpg" for n in range(3)), content=b"12")
    found = listed(videos, "path,label\nframes/a,x\nloose.mp4,y\n")
    assert (found.clips[0].images, found.clips[0].size) == (("0.jpg", "1.jpg", "2.jpg"), 6)
    assert listed(videos, "frames/a 3 7\n", "frames.txt").clips[0].category == "7"


def test_listed_files_that_are_empty_or_unreadable_are_left_out(videos):
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "broken.mp4").symlink_to("gone.mp4")
    found = listed(videos, "path,label\nloose.mp4,y\nempty.mp4,x\nbroken.mp4,x\n")
    assert found.left_out.line() == "left out: 1 empty file (empty.mp4); 1 file or folder that cannot be read (broken.mp4)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,start_frame\njump/1.mp4,a,5\n", "'start_frame' looks like part of a segment that is not start and end"),
        ("path,label,end_ms\njump/1.mp4,a,5\n", "'end_ms' looks like part of a segment that is not start and end in seconds"),
        ("path,label,start,end_frame\njump/1.mp4,a,5,150\n", "'end_frame' looks like part of a segment"),
        ("path,label,start,duration\njump/1.mp4,a,5,2\n", "'duration' looks like part of a segment"),
        ("path,label,Start,start,end\njump/1.mp4,a,5,6,7\n", "two columns are called 'start'; rename or drop one"),
        ("path,label,start,end\njump/1.mp4,a,1,5,2,5\n", 'row 2: 6 values .* needs quotes around it: "a, b.mp4", "12,4"'),
        ("path,group\njump/1.mp4,a\n", "no column label in the first line, which is: path,group"),
        ("paht,label\njump/1.mp4,a\n", "no column path in the first line, which is: paht,label"),
        ("foo\n", "no column path and label"),
        ("", "not a CSV file: it is empty"),
        ("path,label\n", "lists no files"),
        ("path,label,groups\njump/1.mp4,a,b\n", "'groups' looks like 'group'"),
        ("path,label\njump/9.mp4,a\nloose.mp4,b\njump/8.mp4,a\n", r"2 of 3 files are not found in .*row 2: jump/9.mp4, row 4"),
        ("path,label\njump/1.mp4,a\n\njump/./1.mp4,b\n", "row 4: jump/1.mp4 is already listed in row 2; keep one"),
        ("path,label,split\njump/1.mp4,a,late\n", "row 2: unknown split 'late'"),
        ("path,label,split\njump/1.mp4,a,train\njump/2.MOV,a,\n", "row 3: unknown split ''"),
        ("path,label\n../x.mp4,a\n", "unsafe path"),
        ("path,label\n,a\n", "row 2: no path"),
        ("path,label\njump/1.mp4,a/b\n", "cannot be a class"),
        ("path,label\njump/1.mp4,..\n", "unsafe|cannot be"),
        ("path,label\njump/1.mp4,\n", "cannot be a class"),
        ("path,label\nrun/notes.txt,a\n", "row 2: run/notes.txt is not a video"),
        ("path,label\njump,a\n", "row 2: jump is a folder without images"),
        (
            "path,label\njump/1.mp4,a\na, b.mp4,walk\n",
            r"row 3: 3 values \(a \| b.mp4 \| walk\), but the first line names 2 columns \(path, label\); "
            r'a value that holds commas needs quotes around it: "a, b.mp4"',
        ),
        ('path,label\n"jump/1.mp4"x,a\n', "row 2: .*needs quotes around it"),
        ("path,label\njump/1.mp4\n", "row 2: only one value"),
        ("path,label\nb\xfcro.mp4,a\n".encode("latin-1"), "row 2: not UTF-8 .byte 0xfc.; save it as UTF-8"),
        (b"path,label\n\x00\x01,a\n", "not a text file"),
        ("label,youtube_id,time_start,time_end\na,x,soon,later\n", "row 2: time_start and time_end are 'soon' and 'later'"),
        ("jump/1.mp4,a,3,4\n", "no line of column names, and 4 values a row"),
        ('[{"annotations": [{"result": [{"type": "timelinelabels"}]}]}]', "is JSON, not a CSV file"),
        ('<?xml version="1.0"?>\n<annotations><track id="0" label="walk"/></annotations>', "is XML, not a CSV file"),
        ('{"database": {"x": {"annotations": [{"segment": [0, 3], "label": "walk"}]}}}', "write a CSV of path,label,start,end"),
        ('{"a": 1}', "is JSON, not a CSV file"),
    ],
)  # fmt: skip
def test_errors_name_row_and_problem_with_advice(videos, text, message):
    (videos / "run/notes.txt").write_text("x")
    with pytest.raises(UserError, match=message) as caught:
        listed(videos, text)
    assert "\n" not in str(caught.value) and caught.value.advice


def test_columns_of_lengths_are_facts_of_whole_videos(videos):
    assert "not used: duration" in listed(videos, "path,label,duration\njump/1.mp4,a,2\n").layout


def test_an_absent_listing(videos):
    (videos.parent / "labels.csv").write_text("")
    with pytest.raises(UserError, match=r"lables.csv: not found; did you mean .*/labels.csv\?"):
        listed_clips(str(videos), [str(videos.parent / "lables.csv")])


def test_some_listings_with_splits_and_some_without(videos):
    (videos.parent / "train.csv").write_text("path,label\njump/1.mp4,a\n")
    (videos.parent / "rest.csv").write_text("path,label\nloose.mp4,a\n")
    with pytest.raises(UserError, match=r"some of .*give splits and others do not"):
        listed_clips(str(videos), [str(videos.parent / name) for name in ("train.csv", "rest.csv")])


def test_quoted_commas_and_quotes(videos):
    write_files(videos, 'a, "b".mp4', content=MP4)
    found = listed(videos, 'path,label\n"a, ""b"".mp4","up, down"\n')
    assert read(found) == [('a, "b".mp4', "up, down", 'a, "b".mp4', None)]
