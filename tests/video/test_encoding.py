"""Clips as JPEG frames: the same as of decoding every frame, though frames that nothing needs are not decoded."""

import os
import random
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.video import encoding
from pipeline.video.container import VideoFile
from pipeline.video.decode import BrokenVideo, EncodedClip, all_frames
from pipeline.video.encoding import encode_clip
from tests.video.videos import overwrite, packets, patch_avi, write_av, write_gif, write_video

PYRAMID = {"bf": "3", "g": "50", "b-pyramid": "normal"}
X265 = {"x265-params": "log-level=none:keyint=50:bframes=4"}


def irregular(folder: Path) -> Path:
    steps = random.Random(0).choices((0.02, 0.05, 0.3), k=60)
    return write_av(folder / "a.mkv", 60, times=[sum(steps[:n]) for n in range(60)], options=PYRAMID)


LEAVING_OUT = {
    "h264": lambda folder: write_av(folder / "a.mp4", 150, options=PYRAMID),
    "h264, late start": lambda folder: write_av(folder / "a.mkv", 150, options=PYRAMID, start=1.24),
    "h264, irregular": irregular,
    "hevc": lambda folder: write_av(folder / "a.mp4", 100, codec="libx265", options=X265),
    "mpeg4 avi": lambda folder: write_av(folder / "a.avi", 150, codec="mpeg4", options={"bf": "2"}),
    "mpeg4 mp4": lambda folder: write_av(folder / "a.mp4", 150, codec="mpeg4", options={"bf": "2"}),
    "mpeg2": lambda folder: write_av(folder / "a.mkv", 150, codec="mpeg2video", options={"bf": "2"}),
    "mjpeg": lambda folder: write_video(folder / "a.avi", 25, 150),
}
WHOLE = {
    "vp9": lambda folder: write_av(folder / "a.webm", 50, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}),
    "gif": lambda folder: write_gif(folder / "a.gif", [100, 300, 50, 50, 500, 100, 100, 700, 40, 40, 40, 900, 70, 30]),
    "h264 avi": lambda folder: write_av(folder / "a.avi", 100, options=PYRAMID),
    "temporal layers": lambda folder: write_av(
        folder / "a.mp4", 50, codec="libx265", options={"x265-params": "log-level=none:temporal-layers=2"}
    ),
    "wrong count": lambda folder: patch_avi(write_video(folder / "a.avi", 25, 20), frames=35),
}


def of_all_frames(path: Path, fps: float) -> EncodedClip | BrokenVideo:
    try:
        with VideoFile(path) as video:
            return encoding._encode(video, all_frames, fps, 48, 95)
    except BrokenVideo as error:
        return error


@pytest.fixture
def came_out(monkeypatch) -> list[int | None]:
    """The timestamps of the frames that were decoded while others could be left out."""
    found = []
    take = encoding._Timetable.take
    monkeypatch.setattr(encoding._Timetable, "take", lambda self, *frame: (found.append(frame[0]), take(self, *frame))[1])
    return found


@pytest.mark.parametrize("fps", [3.0, 5.0, 12.5, 25.0, 60.0])
@pytest.mark.parametrize("kind", LEAVING_OUT)
def test_frames_are_those_of_decoding_all(tmp_path, kind, fps, monkeypatch):
    path = LEAVING_OUT[kind](tmp_path)
    expected = of_all_frames(path, fps)
    monkeypatch.setattr(encoding, "all_frames", None)  # there is no need to start over
    assert encode_clip(path, fps, 48, 95) == expected and expected.damage is None and len(expected.jpegs) > 5


@pytest.mark.parametrize("kind", LEAVING_OUT)
def test_frames_that_nothing_needs_are_not_decoded(tmp_path, kind, came_out):
    path = LEAVING_OUT[kind](tmp_path)
    shown = len(encode_clip(path, 5.0, 48, 95).jpegs)
    assert shown / 2 <= len(came_out) <= 0.8 * len(packets(path))


@pytest.mark.parametrize("fps", [5.0, 25.0])
@pytest.mark.parametrize("kind", WHOLE)
def test_what_packets_do_not_tell_is_decoded_whole(tmp_path, kind, fps):
    path = WHOLE[kind](tmp_path)
    expected = of_all_frames(path, fps)
    assert encode_clip(path, fps, 48, 95) == expected and isinstance(expected, EncodedClip)


def test_with_temporal_layers_every_frame_is_decoded(tmp_path, came_out):
    encode_clip(WHOLE["temporal layers"](tmp_path), 5.0, 48, 95)
    assert not came_out


def test_damage_is_found_unless_nothing_needs_the_frame(tmp_path):
    """Displayed are frames 0, 5, 10, ...; packets 2, 4 and 6 are the B-frames 1, 3 and 5, 5 and 41 are P-frames."""
    options = {"bf": "1", "b_strategy": "0", "g": "50", "mbd": "rd"}
    path = write_av(tmp_path / "a.avi", 100, codec="mpeg4", options=options)
    sound = of_all_frames(path, 5.0)
    assert sound.damage is None
    found = packets(path)
    content = path.read_bytes()
    for number in (2, 4, 5, 6, 41):
        offset, size = found[number]
        overwrite(path, offset + 8, random.Random(number).randbytes(size - 8))
        whole, result = of_all_frames(path, 5.0), encode_clip(path, 5.0, 48, 95)
        assert result == (sound if number in (2, 4) else whole)
        assert whole.damage is not None
        path.write_bytes(content)


def test_a_truncated_matroska_is_broken(tmp_path):
    path = write_av(tmp_path / "a.mkv", 200, options=PYRAMID)
    content = path.read_bytes()
    offset, _ = packets(path)[60]
    path.write_bytes(content[:offset])
    with VideoFile(path) as video:
        clock = video.clock(Fraction(5))
        with pytest.raises(encoding.UnpredictableError):
            list(encoding.shown_frames(video, clock))
    result, expected = encode_clip(path, 5.0, 48, 95), of_all_frames(path, 5.0)
    assert isinstance(result, BrokenVideo) and result.reason == expected.reason


@pytest.mark.real
@pytest.mark.skipif("MOVINET_REAL_DATA" not in os.environ, reason="MOVINET_REAL_DATA names no folder of real clips")
def test_real_clips(tmp_path, monkeypatch):
    """Every tenth clip of UCF-101's: MPEG-4 with packed B-frames in AVI; at 25 and at 29.97 frames a second."""
    with zipfile.ZipFile(Path(os.environ["MOVINET_REAL_DATA"]) / "UCF101_videos.zip") as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".avi"))[::10]:
            path = Path(archive.extract(name, tmp_path))
            expected = of_all_frames(path, 5.0)
            assert encode_clip(path, 5.0, 48, 95) == expected
            if expected.damage is None:
                with VideoFile(path) as video:
                    clock = video.clock(Fraction(5))
                    assert len(list(encoding.shown_frames(video, clock))) == len(expected.jpegs)
