"""A strip has the middle frames of equal parts of what the classifier sees, with the rest of the picture dimmed."""

import cv2
import numpy as np
import pytest

from pipeline.explanation.records import Record
from pipeline.explanation.strips import GAP, LONG_SIDE, SHORT_SIDE, make_strip, time_segments
from pipeline.video.sampling import Sampling
from tests.explanation.clips import grey_jpegs


def strip_of(levels: list[int], segments: list[np.ndarray], **size: int):
    record = Record(b"", grey_jpegs(levels, **size), [k / 5 for k in range(len(levels))])
    return make_strip(record, segments, "a.avi")


def images(strip) -> list[np.ndarray]:
    """The frames of a strip."""
    files = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) for jpeg in strip.jpegs]
    step = strip.width + GAP
    return [file[:, k * step : k * step + strip.width] for file in files for k in range((file.shape[1] + GAP) // step)]


@pytest.mark.parametrize(
    ("total", "views", "where", "expected"),
    [
        (16, 1, "uniform", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]),
        (100, 3, "first", [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15]]),
        (3, 2, "uniform", [[0], [1], [2]]),
    ],
)
def test_segments_are_equal_parts_of_what_is_seen(total, views, where, expected):
    parts = time_segments(Sampling(16, 48, where), total, views)
    assert [part.tolist() for part in parts] == expected


def test_frames_of_overlapping_views_are_in_one_segment():
    """Views of frames 6 to 21 and 18 to 33."""
    parts = time_segments(Sampling(16, 48), 40, 2)
    assert np.concatenate(parts).tolist() == list(range(6, 34))
    assert [len(part) for part in parts] == [4, 4, 4, 4, 3, 3, 3, 3]


def test_frames_are_the_middles_of_the_segments_in_files_of_four():
    levels = list(range(0, 240, 10))
    strip = strip_of(levels, np.array_split(np.arange(24), 8))
    assert strip.seconds == pytest.approx([k / 5 for k in (1, 4, 7, 10, 13, 16, 19, 22)])
    assert len(strip.jpegs) == 2 and (strip.width, strip.height) == (107, SHORT_SIDE)
    middles = [int(image[40, 53]) for image in images(strip)]
    assert middles == pytest.approx([10, 40, 70, 100, 130, 160, 190, 220], abs=3)


def test_what_the_classifier_does_not_see_is_dimmed():
    (image,) = images(strip_of([200], [np.array([0])]))
    assert image[40, 20:87].min() > 190
    assert image[:, :8].max() < 90 and image[:, -8:].max() < 90
    (upright,) = images(strip_of([200], [np.array([0])], width=48, height=64))
    assert upright.shape == (107, 80) and upright[:8].max() < 90 and upright[50].min() > 190


def test_elongated_frames_stay_small():
    strip = strip_of([100] * 8, np.array_split(np.arange(8), 8), width=400, height=48)
    assert strip.width == LONG_SIDE and strip.height == 19
    assert strip.bytes == sum(map(len, strip.jpegs)) < 20_000
