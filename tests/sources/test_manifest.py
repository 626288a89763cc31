import pandas
import pytest

from pipeline.console import UserError
from pipeline.sources.manifest import COLUMNS, duplicated_across, identical_across, leaking_groups, read_manifest, write_manifest
from tests.sources.clips import digest


def manifest() -> pandas.DataFrame:
    rows = [
        ("NA/1.mp4", "NA", 0, "g1", "train", "x/1.mp4", 3, digest(b"a")),
        ("NA/2.mp4", "NA", 0, "g1", "test", "x/2.mp4", 3, digest(b"b")),
        ("nan, b/1.mp4", "nan, b", 1, "001", "validation", "x/3.mp4", 3, digest(b"b")),
        ("nan, b/2.mp4", "nan, b", 1, "g3", "test", "x/4.mp4", 3, digest(b"c")),
        ("nan, b/3.mp4", "nan, b", 1, "g3", "test", "x/5.mp4", 3, digest(b"c")),
    ]
    whole = [(clip, clip, "", "", *row[:5], "", *row[5:]) for clip, *row in rows]
    return pandas.DataFrame(whole, columns=list(COLUMNS)).astype(COLUMNS)


def test_round_trip_keeps_odd_names_and_types(tmp_path):
    write_manifest(manifest(), tmp_path / "manifest.csv")
    back = read_manifest(tmp_path / "manifest.csv")
    pandas.testing.assert_frame_equal(back, manifest())
    assert back["group"][2] == "001"
    assert (
        (tmp_path / "manifest.csv")
        .read_bytes()
        .startswith(b"clip,file,start,end,class,label,group,split,source,duplicate_of,bytes,sha256\nNA/1.mp4,NA/1.mp4,,,NA,0,")
    )


def test_leaks_and_duplicates_across_the_split():
    assert leaking_groups(manifest()) == ["g1"]
    assert duplicated_across(manifest()) == [("nan, b/1.mp4", "NA/2.mp4")]
    clean = manifest().assign(split="train")
    assert leaking_groups(clean) == [] and duplicated_across(clean) == []


def test_near_duplicates_across_the_split():
    near = manifest()
    near.loc[[0, 3, 4], "duplicate_of"] = "NA/1.mp4"
    both = [("NA/1.mp4", "nan, b/2.mp4"), ("NA/1.mp4", "nan, b/3.mp4"), ("nan, b/1.mp4", "NA/2.mp4")]
    assert duplicated_across(near) == both and identical_across(near) == both[2:]
    near.loc[[1, 2], "duplicate_of"] = "NA/2.mp4"
    assert duplicated_across(near) == both, "a pair that is found in both ways counts once"


def test_segments_of_one_recording_are_not_the_same():
    recording = manifest().assign(
        sha256=digest(b"a"), start=["0.0", "1.0", "2.0", "3.0", "9.5"], end=["1.0", "2.0", "3.0", "4.0", ""]
    )
    assert duplicated_across(recording) == []
    recording.loc[2, ["start", "end"]] = "2.99", "3.01"
    assert duplicated_across(recording) == [], "less than a frame in common is rounding"


def test_segments_that_overlap_have_frames_in_common():
    recording = manifest().assign(
        sha256=digest(b"a"), start=["0.0", "1.5", "2.0", "2.0", "9.5"], end=["1.0", "2.2", "4.0", "4.0", ""]
    )
    train, test = ["NA/1.mp4", "nan, b/1.mp4"], ["NA/2.mp4", "nan, b/2.mp4", "nan, b/3.mp4"]
    assert identical_across(recording) == [(train[1], test[0]), (train[1], test[1])], "in part, and at the same time"
    recording.loc[0, ["start", "end"]] = ""
    assert identical_across(recording) == [*((train[0], one) for one in test), (train[1], test[0]), (train[1], test[1])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.drop(columns="group"), "columns are"),
        (lambda m: m.iloc[::-1], "not sorted"),
        (lambda m: m.iloc[:0], "no clips"),
        (lambda m: m.assign(split="dev"), "unknown split"),
        (lambda m: m.assign(label=[0, 0, 0, 1, 1]), "labels are not"),
        (lambda m: m.assign(label=m["label"] + 0.5), "column label"),
        (lambda m: m.assign(group=""), "column group"),
        (lambda m: m.assign(sha256="x"), "sha256"),
        (lambda m: m.assign(bytes=-1), "negative"),
        (lambda m: m.assign(clip=["NA/1.mp4", "NA/1.mp4", *m["clip"][2:]]), "named twice"),
        (lambda m: m.assign(clip=["N/1.mp4", *m["clip"][1:]]), "not sorted|outside"),
    ],
)
def test_a_manifest_that_does_not_fit_is_neither_written_nor_read(tmp_path, change, message):
    wrong = change(manifest())
    path = tmp_path / "manifest.csv"
    with pytest.raises(UserError, match=message):
        write_manifest(wrong, path)
    assert not path.exists()
    wrong.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"run `dvc repro`"):
        read_manifest(path)


def test_absent_and_broken_files(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_manifest(tmp_path / "none.csv")
    (tmp_path / "m.csv").write_text("clip,label\na,b,c,d\n1,x\n")
    with pytest.raises(UserError, match="not a manifest"):
        read_manifest(tmp_path / "m.csv")
