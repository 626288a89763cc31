"""Which frames of a video are taken, and when they are shown."""

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

import stages.video.decode as decode
from stages.video.decode import BrokenVideo, decode_clip
from tests.video.videos import patch_avi, shown, write_gif, write_video


def expected(source: Fraction, frames: int, fps: Fraction) -> list[int]:
    """For a constant rate: the last frame that starts by k/fps, for every k/fps before the end."""
    return [math.floor(k / fps * source) for k in range(math.ceil(frames / source * fps))]


@pytest.mark.parametrize(
    ("source", "frames", "fps"),
    [
        (25, 52, 5),
        (30, 31, 5),
        (29.97, 61, 5),
        (12, 24, 5),
        (5, 7, 5),
        (3, 6, 5),
        (25, 30, 12),
        (24, 30, 8),
        (25, 10, 29.97),
        (25, 1, 5),
    ],
)
def test_an_output_frame_is_the_one_a_player_shows(tmp_path, source, frames, fps):
    clip = decode_clip(write_video(tmp_path / "a.avi", source, frames), fps, 48)
    rates = Fraction(str(source)), Fraction(str(fps))
    assert shown(clip.images) == expected(rates[0], frames, rates[1])
    assert clip.timestamps.tolist() == [round(k / rates[1] * 1_000_000) for k in range(len(clip.images))]
    assert clip.source_fps == pytest.approx(source)
    assert clip.images.dtype == np.uint8 and clip.timestamps.dtype == np.int64


def test_25_to_5_takes_every_fifth(tmp_path):
    assert shown(decode_clip(write_video(tmp_path / "a.avi", 25, 21), 5, 48).images) == [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.mkv", "MJPG"), ("a.webm", "VP80"), ("b.webm", "VP90")]
)
def test_containers_that_round_times_sample_alike(tmp_path, name, codec):
    """WebM and Matroska store whole milliseconds: 200.2 ms becomes 200, which would be frame 6 at 5 frames a second, not 5."""
    clip = decode_clip(write_video(tmp_path / name, 29.97, 61, codec), 5, 48)
    assert shown(clip.images) == expected(Fraction("29.97"), 61, Fraction(5)) == [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]


def test_variable_frame_rate(tmp_path):
    """Frames last 100, 300, 50, 50, 500, 100, 100 and then 230 ms (the mean, as the last one's own is not told)."""
    clip = decode_clip(write_gif(tmp_path / "a.gif", [100, 300, 50, 50, 500, 100, 100, 700]), 10, 48)
    assert shown(clip.images) == [0, 1, 1, 1, 2, 4, 4, 4, 4, 4, 5, 6, 7, 7, 7]


def test_a_wrong_forecast_is_made_good(tmp_path, monkeypatch):
    """Frame 61 lasts from 1.22 to 1.52 s; at 1.4 s it is needed, but was not converted, as the next was expected at 1.24 s."""
    passes = []
    sample = decode._sample
    monkeypatch.setattr(decode, "_sample", lambda *a, **o: passes.append(o["every"]) or sample(*a, **o))
    clip = decode_clip(write_gif(tmp_path / "a.gif", [20] * 61 + [300] + [20] * 10), 5, 48)
    assert passes == [False, True]
    assert shown(clip.images) == [0, 10, 20, 30, 40, 50, 60, 61, 66]
    passes.clear()
    decode_clip(write_video(tmp_path / "a.avi", 25, 25), 5, 48)
    assert passes == [False]


def test_only_needed_frames_are_converted(tmp_path, monkeypatch):
    class Counting:
        retrieved = 0

        def __init__(self, *arguments):
            self.capture = video_capture(*arguments)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def retrieve(self):
            Counting.retrieved += 1
            return self.capture.retrieve()

    video_capture = cv2.VideoCapture
    path = write_video(tmp_path / "a.avi", 25, 50)
    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    assert len(decode_clip(path, 5, 48).images) == Counting.retrieved == 10


class Times:
    """A capture that tells given times and frame rate."""

    def __init__(self, fps, milliseconds):
        self.fps, self.milliseconds = fps, iter(milliseconds)

    def get(self, what):
        return self.fps if what == cv2.CAP_PROP_FPS else next(self.milliseconds)


def ticks(fps, milliseconds):
    clock = decode._Clock(Path("a.avi"), Times(fps, milliseconds), Fraction(5))
    return [clock.tick() / clock.second for _ in milliseconds]


def test_times_of_frames():
    assert ticks(25, [40, 80, 120, 0]) == [0, 0.04, 0.08, 0.12], "AVIs with B-frames start late and do not tell the last time"
    assert ticks(25, [0, 0, 0, 0]) == [0, 0.04, 0.08, 0.12], "no times at all"
    assert ticks(25, [0, 40, 200, 240]) == [0, 0.04, 0.2, 0.24], "a gap"
    assert ticks(25, [0, 50.5, 40, 80]) == [0, 0.0505, 0.0905, 0.0905], "never backwards"
    for fps in (0, math.nan, math.inf, -1, 1_000_000):
        assert ticks(fps, [0, 40, 80, 0]) == [0, 0.04, 0.08, 0.12], "without a rate the container's times are all there is"
        for useless in ([0, 0], [0, 0.01]):
            with pytest.raises(BrokenVideo, match=r"^a.avi: no usable times: its header says"):
                ticks(fps, useless)


def test_an_absurd_frame_rate_is_an_error(tmp_path):
    path = patch_avi(write_video(tmp_path / "a.avi", 25, 20), scale=1, rate=1_000_000)
    with pytest.raises(BrokenVideo, match=r"a\.avi: no usable times: its header says 1e\+06 frames a second"):
        decode_clip(path, 5, 48)
