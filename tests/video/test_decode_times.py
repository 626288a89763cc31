"""Which frames of a video are used, and their display times."""

import math
from fractions import Fraction

import numpy as np
import pytest

from pipeline.video import container
from pipeline.video.decode import BrokenVideo, decode_clip
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
def test_containers_that_round_times_give_the_same_frames(tmp_path, name, codec):
    """WebM and Matroska store whole milliseconds: 200.2 ms becomes 200, which would be frame 6 at 5 frames per second, not 5."""
    clip = decode_clip(write_video(tmp_path / name, 29.97, 61, codec), 5, 48)
    assert shown(clip.images) == expected(Fraction("29.97"), 61, Fraction(5)) == [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]


def test_variable_frame_rate(tmp_path):
    """Each frame is shown for as long as the file states, including the last."""
    clip = decode_clip(write_gif(tmp_path / "a.gif", [100, 300, 50, 50, 500, 100, 100, 700]), 10, 48)
    assert shown(clip.images) == [0, 1, 1, 1, 2, 4, 4, 4, 4, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7]


def test_a_frame_that_stays_longer_than_its_neighbours_is_shown_as_long(tmp_path):
    """Frame 60 lasts from 1.2 to 1.5 s; whether it is needed at 1.4 s is known only with the time of the next."""
    clip = decode_clip(write_gif(tmp_path / "a.gif", [20] * 60 + [300] + [20] * 10), 5, 48)
    assert shown(clip.images) == [0, 10, 20, 30, 40, 50, 60, 60, 66]


def test_only_needed_frames_are_converted(tmp_path, monkeypatch):
    converted = []
    pixels = container.VideoFile.pixels
    monkeypatch.setattr(container.VideoFile, "pixels", lambda *arguments: converted.append(1) or pixels(*arguments))
    path = write_video(tmp_path / "a.avi", 25, 50)
    assert len(decode_clip(path, 5, 48).images) == len(converted) == 10


def test_an_absurd_frame_rate_is_an_error(tmp_path):
    path = patch_avi(write_video(tmp_path / "a.avi", 25, 20), scale=1, rate=1_000_000)
    with pytest.raises(BrokenVideo, match=r"a\.avi: no usable times: its header states 1e\+06 frames per second"):
        decode_clip(path, 5, 48)
