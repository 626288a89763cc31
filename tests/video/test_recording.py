"""Segments of a recording that is decoded once: which frames, and whose the damage is."""

import random
from fractions import Fraction

import pytest

from pipeline.video import gaps
from pipeline.video.container import VideoFile
from pipeline.video.decode import BrokenVideo, EncodedClip
from pipeline.video.encoding import encode_clip
from pipeline.video.recording import encode_segments
from pipeline.video.segment import Segment
from tests.video.videos import overwrite, packets, write_av, write_gif, write_video


def cut(path, *segments, fps=5.0):
    found = dict(encode_segments(path, [Segment(*one) for one in segments], fps, 48, 95))
    assert sorted(found) == list(range(len(segments)))
    return [found[number] for number in range(len(segments))]


def constant(container: str, codec: str, rate: float):
    return lambda folder: write_video(folder / f"a.{container}", rate, 150, codec)


RECORDINGS = {
    "avi 25": constant("avi", "MJPG", 25),
    "avi 29.97": constant("avi", "MJPG", 29.97),
    "mp4 30": constant("mp4", "mp4v", 30),
    "mkv 29.97": constant("mkv", "MJPG", 29.97),
    "webm 12": constant("webm", "VP80", 12),
    "h264 with b-frames": lambda folder: write_av(folder / "a.mp4", 150, options={"bf": "3", "g": "50"}),
    "late start": lambda folder: write_av(folder / "a.mkv", 150, start=1.24),
    "variable": lambda folder: write_gif(folder / "a.gif", [100, 300, 50, 50, 500, 100, 100, 700, 40, 40, 40, 900, 70, 30]),
    "irregular": lambda folder: write_av(
        folder / "a.mp4", 60, times=[sum(random.Random(index).choice((0.02, 0.05, 0.3)) for index in range(n)) for n in range(60)]
    ),
}


@pytest.mark.parametrize("fps", [5.0, 12.5, 30.0])
@pytest.mark.parametrize("kind", RECORDINGS)
def test_a_segment_on_the_grid_has_the_frames_of_the_whole_recording(tmp_path, kind, fps):
    path = RECORDINGS[kind](tmp_path)
    whole = encode_clip(path, fps, 48, 95)
    rate = Fraction(fps)
    grid = [(float(Fraction(first) / rate), float(Fraction(last) / rate)) for first, last in ((0, 3), (4, 9), (4, 7), (6, 10))]
    parts = cut(path, *grid, (float(5 / rate), None), fps=fps)
    for part, (first, last) in zip(parts, ((0, 3), (4, 9), (4, 7), (6, 10), (5, None)), strict=True):
        assert part.jpegs == whole.jpegs[first:last] and part.damage is None
        assert part.timestamps == whole.timestamps[: len(part.jpegs)]
    assert whole.damage is None and len(parts[4].jpegs) == len(whole.jpegs) - 5


def test_a_segment_off_the_grid_shows_what_a_player_shows(tmp_path):
    """25 frames a second, so each lasts 40 ms: 0.13 s shows frame 3, then every fifth, while the time is before the end."""
    path = write_video(tmp_path / "a.avi", 25, 100)
    frames = encode_clip(path, 25, 48, 95).jpegs
    first, second, third, last = cut(path, (0.13, 0.93), (0.13, 0.931), (0.12, 0.92), (3.9, None))
    assert first.jpegs == [frames[index] for index in (3, 8, 13, 18)]
    assert second.jpegs == [frames[index] for index in (3, 8, 13, 18, 23)]
    assert third.jpegs == [frames[index] for index in (3, 8, 13, 18)]
    assert last.jpegs == [frames[97]] and last.timestamps == [0]
    assert second.timestamps == [0, 200_000, 400_000, 600_000, 800_000]


def test_times_rounded_to_milliseconds_mean_the_frame_that_they_are_rounded_from(tmp_path):
    """At 29.97 a second frame 20 starts at 0.66733 s, written 0.667, and frame 24 at 0.8008, after 0.8, which is on the grid."""
    path = write_video(tmp_path / "a.avi", 29.97, 100)
    frames = encode_clip(path, 29.97, 48, 95).jpegs
    rounded, before, grid, near_grid = cut(path, (0.667, 1.0), (0.6665, 1.0), (0.8, 1.2), (0.8004, 1.1997))
    assert rounded.jpegs == [frames[20], frames[25]]
    assert before.jpegs == [frames[19], frames[25]]
    assert grid.jpegs == near_grid.jpegs == [frames[23], frames[29]]


def test_ends_are_exact_decimals(tmp_path):
    """In floats 0.3 + 2 * 0.2 and 0.1 + 3 * 0.2 are 0.7000000000000001: the frame at the end is not in."""
    path = write_video(tmp_path / "a.avi", 10, 60)
    lengths = [len(part.jpegs) for part in cut(path, (0.3, 0.7), (0.1, 0.7), (1.1, 4.1), (1.1, 4.1001))]
    assert lengths == [2, 3, 15, 16]


def test_decoding_ends_with_the_last_segment(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", 25, 250)
    seen = []
    frames = VideoFile.frames

    def counted(self, *arguments):
        for item in frames(self, *arguments):
            seen.append(item[0])
            yield item

    monkeypatch.setattr(VideoFile, "frames", counted)
    cut(path, (1.0, 2.0), (0.0, 1.0))
    assert len(seen) == 51


def test_segments_come_as_soon_as_they_end(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 250)
    found = encode_segments(path, [Segment(8.0, 9.0), Segment(1.0, 2.0), Segment(0.5, 4.0)], 5.0, 48, 95)
    assert [number for number, _ in found] == [1, 2, 0]


def encoded(container: str, codec: str, frames: int = 600, **options: str):
    return lambda folder: write_av(folder / f"a.{container}", frames, codec=codec, options=options)


GAPS = {  # groups of 25 frames, a second each
    "h264": encoded("mp4", "libx264", g="25", bf="3"),
    "h264, open groups": encoded("mkv", "libx264", **{"g": "25", "bf": "3", "x264-params": "open-gop=1"}),
    "hevc, open groups": encoded("mp4", "libx265", **{"x265-params": "log-level=none:keyint=25:bframes=4:open-gop=1"}),
    "hevc, transport stream": encoded("ts", "libx265", **{"x265-params": "log-level=none:keyint=25:bframes=4:open-gop=1"}),
    "mpeg2": encoded("mkv", "mpeg2video", g="25", bf="2"),
    "mpeg4": encoded("mp4", "mpeg4", g="25", bf="2"),
    "vp9": encoded("webm", "libvpx-vp9", **{"g": "25", "cpu-used": "8", "deadline": "realtime"}),
    "mjpeg": lambda folder: write_video(folder / "a.mkv", 25, 600, "MJPG"),
    "late start": lambda folder: write_av(folder / "a.mkv", 600, start=1.24, options={"g": "25", "bf": "3"}),
}


@pytest.mark.parametrize("kind", GAPS)
def test_what_lies_between_segments_is_not_decoded(tmp_path, kind, monkeypatch):
    path = GAPS[kind](tmp_path)
    whole = encode_clip(path, 25.0, 48, 95)
    assert len(whole.jpegs) == 600 and whole.damage is None
    seen, frames = [], VideoFile.frames

    def counted(self, *arguments):
        for item in frames(self, *arguments):
            seen.append(item[0])
            yield item

    monkeypatch.setattr(VideoFile, "frames", counted)
    parts = [(0.2, 0.6), (9.0, 9.6), (9.96, 10.04), (18.4, 18.8)]
    for part, (start, end) in zip(cut(path, *parts, fps=25.0), parts, strict=True):
        assert part.jpegs == whole.jpegs[round(25 * start) : round(25 * end)] and part.damage is None
    assert seen == sorted(seen) and len(seen) < 400
    seen.clear()
    (rest,) = cut(path, (20.0, None), fps=25.0)
    assert rest.jpegs == whole.jpegs[500:] and rest.damage is None and len(seen) < 250


def test_what_the_recording_does_not_hold_is_said_though_nothing_was_needed_of_it(tmp_path):
    (gone,) = cut(GAPS["h264"](tmp_path), (30.0, 31.0))
    assert gone.reason == "no frame: it starts at 30.0 s, and the recording can be decoded until 24.0 s"


def test_damage_between_segments_is_no_segments(tmp_path):
    path = damaged(tmp_path, *range(80, 160))
    before, after = cut(path, (0.0, 1.0), (9.0, 10.0))
    assert before.damage is None and after.damage is None and len(before.jpegs) == len(after.jpegs) == 5


def test_a_recording_without_further_keyframes_is_decoded(tmp_path, monkeypatch):
    path = encoded("mp4", "libx264", g="1000", bf="3", sc_threshold="0")(tmp_path)
    whole = encode_clip(path, 25.0, 48, 95)
    monkeypatch.setattr(gaps, "GROUP_BYTES", 1000)
    (part,) = cut(path, (20.0, 21.0), fps=25.0)
    assert part.jpegs == whole.jpegs[500:525]


def damaged(folder, *numbers):
    """250 frames of 40 ms; the packets of these frames are overwritten."""
    path = write_av(folder / "a.mp4", 250, options={"g": "10", "bf": "0"})
    found = packets(path)
    for number in numbers:
        offset, size = found[number]
        overwrite(path, offset, random.Random(1).randbytes(size))
    return path


def test_damage_is_that_of_the_segment(tmp_path):
    path = damaged(tmp_path, 105, 106)  # 4.2 s
    before, within, whole, after = cut(path, (0.0, 4.0), (4.0, 5.0), (0.0, 10.0), (5.0, None))
    assert before.damage is None and after.damage is None
    assert str(within.damage) == "decoded 23 of 25 frames: damaged data at 0.2 s"
    assert str(whole.damage) == "decoded 248 of 250 frames: damaged data at 4.2 s"


def test_a_segment_that_is_mostly_damaged_is_broken(tmp_path):
    path = damaged(tmp_path, *range(100, 130))
    before, mostly, after = cut(path, (3.0, 4.0), (4.0, 5.0), (6.0, 7.0))
    assert isinstance(before, EncodedClip) and before.damage is None
    assert isinstance(mostly, BrokenVideo) and mostly.reason == "truncated: 1 of the 26 frames that it should hold can be decoded"
    assert isinstance(after, EncodedClip) and after.damage is None


def test_a_recording_that_breaks_off_gives_the_segments_before(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 250)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    whole = encode_clip(path, 5.0, 48, 95)
    assert isinstance(whole, BrokenVideo)
    first, second, third, gone = cut(path, (0.0, 2.0), (1.0, 2.6), (2.0, 6.0), (6.0, 7.0))
    assert len(first.jpegs) == 10 and first.damage is None
    assert str(second.damage) == "decoded 29 of 40 frames: damaged data at 1.2 s" and len(second.jpegs) == 6
    assert isinstance(third, BrokenVideo) and third.reason.startswith("truncated: ")
    assert isinstance(gone, BrokenVideo)
    assert gone.reason.startswith("no frame: it starts at 6.0 s, and the recording can be decoded until 2.")


def test_an_end_past_the_recording_is_no_damage(tmp_path):
    whole, past = cut(write_video(tmp_path / "a.avi", 25, 50), (1.0, 2.0), (1.0, 9.0))
    assert whole == past and len(past.jpegs) == 5


def test_a_file_that_is_not_a_video(tmp_path):
    (tmp_path / "a.avi").write_text("not a video")
    assert all("FFmpeg cannot read it" in part.reason for part in cut(tmp_path / "a.avi", (0.0, 1.0), (1.0, 2.0)))


def test_names_of_segments_sort_by_time():
    names = [Segment(start, end).name for start, end in ((2.0, 3.5), (12.4, 15.0), (12.4, None), (100.0, 101.0))]
    assert names == sorted(names) == ["00002.000-00003.500", "00012.400-00015.000", "00012.400-end", "00100.000-00101.000"]
