import pytest

from pipeline.console import UserError
from pipeline.sources.class_names import name_classes, read_class_names
from pipeline.sources.source import Clip


def clips(*classes: str) -> list[Clip]:
    return [Clip(f"{number}.mp4", name, str(number)) for number, name in enumerate(classes)]


def named(tmp_path, text: str, *classes: str) -> tuple[list[str], str]:
    (tmp_path / "names").write_text(text, encoding="utf-8")
    found, line = name_classes(clips(*classes), str(tmp_path / "names"))
    return [clip.category for clip in found], line


@pytest.mark.parametrize(
    ("text", "classes", "expected", "counted"),
    [
        ("walk\nrun fast\n", ["0", "1"], ["walk", "run fast"], "counted from 0"),
        ("walk\nrun\n", ["1", "2"], ["walk", "run"], "counted from 1"),
        ("\ufeff1 walk\r\n2 run fast\r\n", ["1", "2"], ["walk", "run fast"], "numbered as it says"),
        ("7,walk\n3,run\n", ["3", "7", "3"], ["run", "walk", "run"], "numbered as it says"),
        ("id,name\n0,walk\n1,run\n", ["1", "0"], ["run", "walk"], "numbered as it says"),
        ('["walk", "run"]', ["1"], ["run"], "counted from 0"),
        ('{"0": "walk", "1": "run"}', ["1"], ["run"], "numbered as it says"),
        ('{"walk": 0, "run": 1}', ["1"], ["run"], "numbered as it says"),
        ("1 Archery\n2 Biking\n", ["1", "2", "Archery"], ["Archery", "Biking", "Archery"], "numbered as it says"),
    ],
)
def test_numbers_become_names(tmp_path, text, classes, expected, counted):
    found, line = named(tmp_path, text, *classes)
    assert found == expected and counted in line and "numbered classes named by" in line


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("walk\nrun\n", ["0", "2", "5"], "class 2 has no name; the file names 0 to 1"),
        ("walk\nrun\n", ["walk"], None),
        ("walk\nrun\n", ["jump"], "'jump' is not a number"),
        ("1 walk\n1 run\n", ["1"], "class 1 is named twice"),
        ("", ["1"], "names no class"),
        ("[1, 2]", ["1"], "neither a list of names nor an object"),
        ('{"a": "b"}', ["1"], "neither a list of names nor an object"),
        ("{", ["1"], "not valid JSON"),
    ],
)
def test_what_cannot_be_named(tmp_path, text, classes, message):
    if message is None:
        assert named(tmp_path, text, *classes)[0] == classes
        return
    with pytest.raises(UserError, match=message) as caught:
        named(tmp_path, text, *classes)
    assert "\n" not in str(caught.value) and caught.value.advice


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_class_names(str(tmp_path / "none.txt"))
    (tmp_path / "latin").write_bytes(b"b\xfcro\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_class_names(str(tmp_path / "latin"))
