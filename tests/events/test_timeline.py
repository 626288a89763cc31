"""What the page and the picture show."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.events import still
from pipeline.events.event import Event
from pipeline.events.page import render_page
from pipeline.events.still import draw_still, shown_classes
from pipeline.events.timeline import AXIS_THUMBNAILS, EVENT_THUMBNAILS, build_timeline
from pipeline.reporting.style import drawing, png


def jpeg(level=90):
    with io.BytesIO() as file:
        Image.fromarray(np.full((12, 16, 3), level, np.uint8)).save(file, format="JPEG")
        return file.getvalue()


THUMBNAILS = [(float(k), jpeg(k)) for k in range(100)]
EVENTS = [Event("v", 40.0, 43.0, "B", 0.8), Event("v", 10.0, 12.4, "<A> & 'b'", 0.9)]


def test_each_event_has_the_thumbnail_nearest_to_its_middle():
    timeline = build_timeline("v.mp4", 100.0, EVENTS, iter(THUMBNAILS))
    assert [event.start for event in timeline.events] == [10.0, 40.0] and timeline.classes == ["<A> & 'b'", "B"]
    assert timeline.of_event == [11.0, 41.0]
    assert timeline.jpegs[11.0] == THUMBNAILS[11][1]
    assert {*timeline.axis} <= timeline.jpegs.keys() and len(timeline.axis) == AXIS_THUMBNAILS


def test_a_video_of_many_hours_keeps_few_thumbnails_and_the_confident_events_have_one():
    count = 3000
    events = [Event("v", 10.0 * k, 10.0 * k + 5, "A", 0.5 + k / 10000) for k in range(count)]
    timeline = build_timeline("v.mp4", 10.0 * count, events, ((float(k), b"x") for k in range(10 * count)))
    assert len(timeline.jpegs) <= AXIS_THUMBNAILS + EVENT_THUMBNAILS
    assert [time is not None for time in timeline.of_event] == [False] * (count - EVENT_THUMBNAILS) + [True] * EVENT_THUMBNAILS
    with_jpegs = timeline._replace(jpegs=dict.fromkeys(timeline.jpegs, b"x" * 5000))
    page = render_page(with_jpegs._replace(axis=[]))
    assert len(page) < 6_000_000 and 'data-thumb=""' in page
    assert f'data-without="No picture: only the {EVENT_THUMBNAILS} most confident events have one' in page


def test_the_page_lists_every_event_and_loads_nothing():
    page = render_page(build_timeline("a <b>.mp4", 100.0, EVENTS, THUMBNAILS))
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "<h1>a &lt;b&gt;.mp4</h1>" in page and "2 events of 2 classes in 1:40.0." in page
    assert "<A>" not in page and 'aria-label="&lt;A&gt; &amp; &#39;b&#39;, 0:10.0 to 0:12.4, confidence 90%"' in page
    rows = re.findall(r"<tr id=\"r\d\".*?</tr>", page, re.DOTALL)
    assert [re.sub("<[^>]+>", "|", row).count("|") > 0 for row in rows] == [True, True]
    assert "0:10.0" in rows[0] and 'data-thumb="11.000"' in rows[0] and "80%" in rows[1]
    left, width = re.search(r'id="e1"[^>]*left:([\d.]+)%;width:([\d.]+)%', page).groups()
    assert (float(left), float(width)) == (40.0, 3.0)
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', page, re.DOTALL)[1])
    axis = json.loads(re.search(r'id="axis">(.*?)</script>', page, re.DOTALL)[1])
    assert {"11.000", *(f"{time:.3f}" for time in axis)} <= pictures.keys()
    assert all(url.startswith("data:image/jpeg;base64,") for url in pictures.values())


def test_a_page_without_events():
    page = render_page(build_timeline("v.mp4", 100.0, [], THUMBNAILS))
    assert "0 events of 0 classes" in page and "No event was found." in page and 'id="track"' not in page


def bars(figure):
    """(start, seconds) of each bar of each lane."""
    return [
        [tuple(np.round((box.x0, box.width), 3)) for path in lane.get_paths() for box in [path.get_extents()]]
        for lane in figure.axes[0].collections
    ]


def test_the_picture_has_a_lane_for_each_class():
    with drawing():
        figure = draw_still(build_timeline("v.mp4", 100.0, EVENTS, THUMBNAILS))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["<A> & 'b'", "B"]
    assert bars(figure) == [[(10.0, 2.4)], [(40.0, 3.0)]]
    assert len(figure.axes) > 4  # the thumbnails
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("events", "thumbnails"), [([], THUMBNAILS), (EVENTS, []), ([], [])])
def test_a_picture_without_events_or_thumbnails(events, thumbnails):
    with drawing():
        assert png(draw_still(build_timeline("v.mp4", 9000.0, events, thumbnails))).startswith(b"\x89PNG")


def test_of_many_classes_the_picture_shows_those_that_last_longest_and_says_so(monkeypatch):
    monkeypatch.setattr(still, "MAX_LANES", 2)
    events = [Event("v", 10.0 * k, 10.0 * k + 1 + k, f"class {k}", 0.9) for k in range(4)]
    timeline = build_timeline("v.mp4", 100.0, events, [])
    assert shown_classes(timeline) == ["class 2", "class 3"]
    with drawing():
        title = draw_still(timeline).texts[0].get_text()
    assert title == "v.mp4: 4 events, lanes of the 2 of 4 classes that last longest"
