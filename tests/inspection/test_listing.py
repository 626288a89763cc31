from pipeline.inspection.listing import Row, is_listable, listing_text
from pipeline.video.segment import Segment


def test_whole_videos():
    rows = [Row("b, c/é.mp4", 'a "b"', "g", None, None), Row("a/1.mp4", "a", "a/1.mp4", None, None)]
    assert listing_text(rows) == 'path,label,group\na/1.mp4,a,a/1.mp4\n"b, c/é.mp4","a ""b""",g\n'


def test_splits_if_every_row_has_one():
    rows = [Row("1.mp4", "a", "g", "train", None), Row("2.mp4", "a", "g", "test", None)]
    assert listing_text(rows) == "path,label,group,split\n1.mp4,a,g,train\n2.mp4,a,g,test\n"
    assert listing_text([rows[0], Row("2.mp4", "a", "g", None, None)]).startswith("path,label,group\n")


def test_segments():
    rows = [
        Row("1.mp4", "b", "g", None, Segment(12.25, None)),
        Row("1.mp4", "a", "g", None, Segment(1.0, 1234567.125)),
        Row("2.mp4", "a", "h", None, None),
    ]
    assert listing_text(rows) == "path,label,group,start,end\n1.mp4,a,g,1.0,1234567.125\n1.mp4,b,g,12.25,\n2.mp4,a,h,,\n"


def test_names_with_spaces_at_their_ends():
    assert is_listable("a b/c d.mp4")
    assert not is_listable(" a/b.mp4")
    assert not is_listable("a/b.mp4 ")
