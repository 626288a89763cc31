import re
from html.parser import HTMLParser

import cv2
import numpy as np

from pipeline.inspection.content import Finding, NameHint, Unused
from pipeline.inspection.page import PER_CLASS, ROWS, THUMBNAIL_BYTES, render
from tests.inspection.contents import duplicates, inspection, video

JPEG = cv2.imencode(".jpg", np.zeros((9, 12, 3), np.uint8))[1].tobytes()


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.all: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag

    def of(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.all if tag == name]


def test_the_page_is_well_formed_and_self_contained():
    videos = [video(f"jump/{n}.mp4", bytes=1000 * (n + 1)) for n in range(3)] + [video("run/1.mp4", broken="the file is empty")]
    page = render(
        inspection(
            videos,
            findings=[Finding(kind="broken", status="problem", message="1 video", advice="copy it", paths=["a", "b", "c"])],
            duplicates=[duplicates("jump/0.mp4", "jump/1.mp4")],
            name_hints=[NameHint(original="jump/0.mp4", copy_path="jump/0 (1).mp4")],
            unused=[Unused(path="notes.txt", reason="file that is not a video", problem=False)],
        ),
        {one.path: JPEG for one in videos},
    )
    tags = Tags(page)
    assert tags.open == []
    assert not re.search(r"https?://", page)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in tags.of("img"))
    anchors = {link["href"].removeprefix("#") for link in tags.of("a")}
    assert anchors == {section["id"] for section in tags.of("section")}
    assert "prefers-color-scheme: dark" in page


def test_names_are_escaped():
    name = "jump/<script>alert(1)</script>&.mp4"
    page = render(inspection([video(name), video("run/1.mp4")]), {name: JPEG})
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;.mp4" in page


def test_at_most_twelve_thumbnails_of_a_class_evenly_chosen():
    videos = [video(f"jump/{n:03d}.mp4") for n in range(100)]
    page = render(inspection(videos), {one.path: JPEG for one in videos})
    shown = re.findall(r'aria-label="Name of jump/(\d+)\.mp4"', page)
    assert len(shown) == PER_CLASS
    assert [int(one) for one in shown] == [100 * n // PER_CLASS for n in range(PER_CLASS)]


def test_the_page_of_many_classes_stays_small_and_every_class_is_shown():
    big = JPEG + b"\0" * (THUMBNAIL_BYTES // 400)
    videos = [video(f"class{number:03d}/{n:02d}.mp4") for number in range(101) for n in range(20)]
    page = render(inspection(videos), {one.path: big for one in videos})
    assert len(page) < 10_000_000
    shown = re.findall(r'aria-label="Name of class(\d+)/', page)
    assert len(set(shown)) == 101
    assert max(shown.count(one) for one in set(shown)) < PER_CLASS


def test_long_tables_are_cut_and_say_so_with_problems_first():
    videos = [video(f"jump/{n:04d}.mp4") for n in range(ROWS)] + [
        video("jump/z1.mp4", broken="no"),
        video("jump/z2.mp4", suspicions=["dark"]),
    ]
    page = render(inspection(videos), {})
    rows = re.findall(r'<tr><td class="path">jump/(\w+)\.mp4</td><td>jump', page)
    assert rows[:3] == ["z1", "z2", "0000"]
    assert len(rows) == ROWS
    assert "and 2 more videos in inspection.json" in page


def test_histogram_counts_every_video():
    videos = [video(f"jump/{n}.mp4", seconds=float(2**n)) for n in range(6)]
    page = render(inspection(videos), {})
    chart = page[page.index("Histogram of duration") :].split("</svg>")[0]
    assert sum(int(count) for count in re.findall(r"<title>(\d+):", chart)) == 6
