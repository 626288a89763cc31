"""Damaged and truncated videos: which frames are kept, and what is reported."""

import pickle
import re
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.console import UserError
from pipeline.video.container import VideoFile
from pipeline.video.decode import BrokenVideo, decode_clip
from pipeline.video.encoding import encode_clip
from tests.video.videos import patch_avi, shown, write_av, write_video


def broken(path: Path) -> str:
    with pytest.raises(BrokenVideo) as caught:
        decode_clip(path, 5, 48)
    assert str(caught.value) == f"{path}: {caught.value.reason}" and "\n" not in str(caught.value)
    return caught.value.reason


def test_errors_of_broken_videos_give_the_reason(tmp_path):
    whole = write_video(tmp_path / "a.avi", 25, 20).read_bytes()
    assert broken(tmp_path / "absent.avi") == "there is no such file"
    path = tmp_path / "b.avi"
    path.write_bytes(b"")
    assert broken(path) == "the file is empty"
    path.write_text("not a video\n" * 100)
    assert "FFmpeg cannot read it" in broken(path)
    path.write_bytes(whole[: len(whole) * 6 // 10])
    assert re.fullmatch(r"truncated: \d of the 20 frames that it should hold can be decoded", broken(path))
    with pytest.raises(UserError):
        decode_clip(path, 5, 48)


def test_a_video_that_lost_its_end_is_kept(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    indices = shown(decode_clip(path, 25, 48).images)
    assert 10 <= len(indices) < 20 and indices == list(range(len(indices)))


def test_the_headers_frame_count_is_not_trusted(tmp_path):
    """At least half of the stated frames must be there; missing frames are reported as damage."""
    path = patch_avi(write_video(tmp_path / "a.avi", 25, 20), frames=35)
    clip = decode_clip(path, 25, 48)
    assert shown(clip.images) == list(range(20)) and str(clip.damage) == "decoded 20 of 35 frames: data is missing"
    assert "truncated: 20 of the 41" in broken(patch_avi(path, frames=41))


def test_frames_that_a_damaged_index_does_not_name_are_found(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 40)
    content = path.read_bytes()
    index = content.index(b"idx1")
    path.write_bytes(content[: index + 8 + 16 * 10] + bytes(len(content) - index - 8 - 16 * 10))
    clip = decode_clip(path, 25, 48)
    assert shown(clip.images) == list(range(40)) and clip.damage is None


def test_truncated_means_both_few_frames_and_little_time(tmp_path):
    """A header that counts fields or states a wrong rate does not make a video unusable."""
    path = write_av(tmp_path / "a.mkv", 30, times=[index / 5 for index in range(30)])
    with VideoFile(path) as video:
        video._promised = 100  # at 25 frames per second 4 s; the file has 5.84 s
        assert len(list(video.frames(video.clock(Fraction(5))))) == 30
    with VideoFile(path) as video, pytest.raises(BrokenVideo, match="truncated: 30 of the 1000"):
        video._promised = 1000
        list(video.frames(video.clock(Fraction(5))))


def test_a_broken_section_keeps_the_timing(tmp_path):
    """Zeros over the middle of the file: the frames that can be decoded keep their times."""
    path = write_video(tmp_path / "a.avi", 5, 40)
    content = bytearray(path.read_bytes())
    chunks = [match.start() for match in re.finditer(b"00dc", bytes(content))][:40]
    for chunk in chunks[10:15]:
        content[chunk + 8 : chunk + 40] = bytes(32)
    path.write_bytes(content)
    indices = shown(decode_clip(path, 5, 48).images)
    assert len(indices) == 40 and indices[:10] == list(range(10)) and indices[15:] == list(range(15, 40))


def test_a_broken_video_comes_back_from_a_worker(tmp_path):
    result = encode_clip(tmp_path / "absent.avi", 5, 48, 95)
    assert isinstance(result, BrokenVideo)
    again = pickle.loads(pickle.dumps(result))
    assert (again.path, again.reason, str(again)) == (result.path, result.reason, str(result))
