import numpy as np
import pytest

from pipeline.duplicates.fingerprints import RATE, SECONDS, SIDE, UNIT
from pipeline.inspection.examine import Look
from pipeline.inspection.suspicions import KINDS, View, brightness, motion, short_segments, suspicions

VIEW = View(seconds=1.6, fps=5, size=172)


def frames(seconds: float, low: int = 50, high: int = 90) -> np.ndarray:
    """A bright square of one cell that moves over a grey ground."""
    count = round(seconds * RATE)
    images = np.full((count, SIDE, SIDE), low * UNIT, np.uint16)
    images[np.arange(count), np.arange(count) % SIDE, 3] = high * UNIT
    return images


def look(**changes) -> Look:
    values = {"codec": "h264", "width": 320, "height": 240, "fps": 25.0, "seconds": 4.0, "uneven": 0.0, "turned": False}
    return Look(**{**values, "colour": 30.0, "thumbnail": b"", **changes})


def kinds(one: Look, images: np.ndarray, median: float = 4.0, folder: bool = False) -> dict[str, str]:
    return {found.kind: found.text for found in suspicions(one, images, VIEW, median, folder)}


def test_an_ordinary_video_is_not_suspicious():
    assert kinds(look(), frames(4.0)) == {}


@pytest.mark.parametrize(
    ("one", "images", "kind", "text"),
    [
        (look(seconds=0.4), frames(0.4), "short", "0.4 s; a view takes 1.6 s"),
        (look(seconds=400.0), frames(60), "long", "400 s; the median is 4.0 s"),
        (look(fps=None), frames(4.0), "absurd_rate", "its header states no usable rate"),
        (look(fps=600.0), frames(4.0), "absurd_rate", "its header states 600 frames per second"),
        (look(fps=1.0), frames(4.0), "absurd_rate", "its header states 1 frames per second"),
        (look(uneven=0.33), frames(4.0), "variable_rate", "33% of its frames last longer or shorter than the others"),
        (look(width=100, height=80), frames(4.0), "tiny", "100x80 pixels; a view has 172"),
        (look(), frames(4.0, 0, 5), "dark", "black"),
        (look(seconds=90.0), frames(60, 0, 5), "dark", "black in its first minute"),
        (look(), frames(4.0, 80, 81), "frozen", "no motion"),
        (look(seconds=10.0), frames(4.0), "header_duration", "its header states 10.0 s, 4.0 s can be decoded"),
        (look(turned=True), frames(4.0), "rotated", "its header rotates or mirrors it"),
        (look(colour=0.5), frames(4.0), "grey", "grey only"),
    ],
)
def test_kinds(one, images, kind, text):
    found = kinds(one, images, median=4.0 if kind != "dark" else 60.0)
    assert found == {kind: text}
    assert kind in KINDS


def test_low_rate():
    fast = View(seconds=1.0, fps=30, size=172)
    found = list(suspicions(look(fps=15.0), frames(4.0), fast, 4.0, False))
    assert [(one.kind, one.text) for one in found] == [("low_rate", "15 frames per second; a view has 30")]


def test_a_view_fits_into_a_clip_that_lacks_less_than_half_a_frame():
    assert kinds(look(seconds=1.5), frames(1.5)) == {}
    assert "short" in kinds(look(seconds=1.4), frames(1.4))


def test_recordings_are_long_only_among_clips():
    assert kinds(look(seconds=400.0), frames(60), median=300.0) == {}


def test_the_header_of_a_long_recording_cannot_be_checked():
    assert "header_duration" not in kinds(look(seconds=4000.0), frames(SECONDS))


def test_of_folders_of_images_times_are_not_odd():
    assert kinds(look(fps=None, seconds=None, uneven=None), frames(0.2), folder=True) == {}


def test_motion_is_that_of_the_cell_that_changes_most():
    assert motion(frames(2.0, 50, 90)) == 40
    assert motion(frames(1 / RATE)) is None
    assert brightness(np.concatenate([frames(0.5, 10, 10), frames(0.5, 30, 30)])) == 30


def test_a_recording_whose_clips_are_segments_may_be_long():
    assert list(suspicions(look(seconds=4000.0), frames(60), VIEW, None, False)) == []


def test_segments_that_are_shorter_than_a_view():
    assert list(short_segments([1.6, 1.51, 20.0], VIEW)) == [], "less than half a frame at 5 a second is not missing"
    (one,) = short_segments([1.6, 1.4, 0.25], VIEW)
    assert one.kind in KINDS
    assert one.text == "2 segments are shorter than a view, which takes 1.6 s; the shortest has 0.2 s"
