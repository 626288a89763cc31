"""What FFmpeg reports about a file: damage, pauses, offsets, proportions, orientation, codecs."""

import random
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.video.container import BrokenVideo, Damage, Orientation, VideoFile
from pipeline.video.decode import decode_clip, iterate_frames, probe
from tests.video.videos import overwrite, packets, picture, shown, write_av, write_video

ONE = 1 << 16
SEEKABLE = {"g": "10", "bf": "0"}  # a keyframe every 10 frames, so that damage does not spread for long


def matrix_of(a: int, b: int, c: int, d: int) -> list[int]:
    return [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]


def test_interlaced_video_gives_its_picture_each_time(tmp_path):
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1:interlaced=1"}
    path = write_av(tmp_path / "a.mp4", 30, options=options)
    with VideoFile(path) as video:
        frames = [frame for _, frame in video.frames(video.clock(Fraction(25)))]
    assert frames[0].interlaced_frame
    first, second = decode_clip(path, 25, 120), decode_clip(path, 25, 120)
    assert shown(first.images) == list(range(30))
    assert np.abs(first.images[7].astype(int) - picture(7, 160, 120)).mean() < 8
    np.testing.assert_array_equal(first.images, second.images)


def test_decoding_continues_after_a_damaged_packet_which_is_reported(tmp_path):
    path = write_av(tmp_path / "a.mp4", 75, options=SEEKABLE)
    offset, size = packets(path)[45]
    overwrite(path, offset, random.Random(1).randbytes(size))
    clip = decode_clip(path, 25, 120)
    assert clip.damage == Damage(74, 75, 0, 1.8)
    assert str(clip.damage) == "decoded 74 of 75 frames: damaged data at 1.8 s"
    indices = shown(clip.images)
    assert indices[:45] == list(range(45)) and indices[50:] == list(range(50, 75)) and len(indices) == 75


def test_damage_before_the_middle_is_not_truncation(tmp_path):
    path = write_av(tmp_path / "a.mp4", 60, options=SEEKABLE)
    for index in (12, 13):
        offset, size = packets(path)[index]
        overwrite(path, offset, random.Random(1).randbytes(size))
    clip = decode_clip(path, 25, 120)
    assert clip.damage.decoded == 58 and clip.damage.at == pytest.approx(0.48)
    assert shown(clip.images)[20:] == list(range(20, 60))


def test_frames_that_the_decoder_repaired_are_counted(tmp_path):
    """Zeros inside a frame of MPEG-4: the decoder conceals the damage, as ffmpeg does, and returns every frame."""
    path = write_av(tmp_path / "a.avi", 50, codec="mpeg4", options={"g": "10", "qscale": "3", "bf": "0"})
    offset, size = packets(path)[30]
    overwrite(path, offset + 8 + size // 3, bytes(size // 3))
    clip = decode_clip(path, 25, 120)
    assert (clip.damage.decoded, clip.damage.expected, clip.damage.at) == (50, 50, 1.2) and clip.damage.repaired >= 1
    assert "of them repaired by the decoder: damaged data at 1.2 s" in str(clip.damage)
    np.testing.assert_array_equal(clip.images, decode_clip(path, 25, 120).images)


def test_packets_that_are_missing_from_the_index_are_counted(tmp_path):
    path = write_av(tmp_path / "a.avi", 50, codec="mpeg4", options={"g": "10", "bf": "0"})
    (start, _), (end, _) = packets(path)[20], packets(path)[23]
    overwrite(path, start, bytes(end - start))
    clip = decode_clip(path, 25, 120)
    assert clip.damage.expected == 50 and 45 <= clip.damage.decoded < 50
    assert shown(clip.images)[-20:] == list(range(30, 50))


def test_a_whole_file_has_no_damage(tmp_path):
    for name, codec in (
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.ts", "mpeg2video"),
        ("a.webm", "libvpx-vp9"),
    ):
        clip = decode_clip(write_av(tmp_path / name, 12, codec=codec), 25, 120)
        assert clip.damage is None and shown(clip.images) == list(range(12)), name


def test_a_long_pause_next_to_audio_loses_nothing(tmp_path):
    times = [index / 25 for index in range(50)] + [120 + index / 25 for index in range(25)]
    path = write_av(tmp_path / "a.mp4", 75, times=times, audio=121.0, options={"bf": "0"})
    clip = decode_clip(path, 25, 120)
    assert len(clip.images) == 3025 and clip.damage is None
    assert shown(clip.images[:50]) == list(range(50)) and shown(clip.images[-25:]) == list(range(50, 75))
    assert set(shown(clip.images[50:3000:100])) == {49}


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.ts", "a.flv", "a.mp4"])
def test_a_stream_that_starts_late_or_ends_before_its_audio_is_whole(tmp_path, name):
    codec = {"a.webm": "libvpx-vp9", "a.flv": "flv"}.get(name, "libx264")
    late = write_av(tmp_path / name, 50, codec=codec, start=10)
    assert shown(decode_clip(late, 25, 120).images) == list(range(50)) and decode_clip(late, 25, 120).damage is None
    if name in ("a.mkv", "a.ts", "a.mp4"):  # AAC
        short = write_av(tmp_path / f"b{name}", 50, codec=codec, audio=12.0)
        assert shown(decode_clip(short, 25, 120).images) == list(range(50))


def test_a_truncated_matroska_file_is_detected_by_the_length_of_its_stream(tmp_path):
    path = write_av(tmp_path / "a.mkv", 100, options=SEEKABLE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 10])
    with pytest.raises(BrokenVideo, match=r"truncated: 1\.\d of the 4\.0 seconds that it should last can be decoded"):
        decode_clip(path, 25, 120)


def test_av1_is_decoded(tmp_path):
    path = write_av(tmp_path / "a.mp4", 10, codec="libsvtav1", options={"preset": "12"})
    assert shown(decode_clip(path, 25, 120).images) == list(range(10))
    assert probe(path) == ("av1", 160, 120, 25.0, pytest.approx(0.4))


def test_a_codec_without_a_decoder_is_an_error_with_advice(tmp_path):
    path = write_av(tmp_path / "a.mp4", 5)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"evc1"))
    with pytest.raises(
        BrokenVideo, match=r"its video codec has no decoder here; re-encode it, e\.g\. ffmpeg -i IN -c:v libx264 OUT\.mp4"
    ):
        decode_clip(path, 25, 120)


def test_audio_alone_is_not_a_video(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 8000, 0
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(BrokenVideo, match="holds no video stream, only audio or cover art"):
        decode_clip(tmp_path / "a.m4a", 25, 120)


def test_samples_that_are_not_square(tmp_path):
    path = write_av(tmp_path / "a.mp4", 2, width=720, height=576, aspect=Fraction(64, 45))
    assert decode_clip(path, 25, 120).images.shape == (2, 120, 213, 3)
    assert probe(path)[1:3] == (1024, 576)
    narrow = write_av(tmp_path / "b.mp4", 2, width=320, height=240, aspect=Fraction(1, 2))
    assert decode_clip(narrow, 25, 120).images.shape == (2, 180, 120, 3)


ORIENTATIONS = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("numbers", ORIENTATIONS)
def test_display_matrices_rotate_and_mirror(numbers):
    """By the definition of libavutil/display.h: a pixel at (x, y) is shown at (a x + c y, b x + d y), moved into view."""
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    a, b, c, d = numbers
    places = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(2) for x in range(4)}
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    expected = np.zeros((4, 2, 3) if b else (2, 4, 3), np.uint8)
    for (x, y), pixel in places.items():
        expected[y - top, x - left] = pixel
    turned = Orientation.of(matrix_of(*numbers)).apply(image)
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(turned, ORIENTATIONS[numbers](image))


@pytest.mark.parametrize("numbers", [(-1, 0, 0, 1), (0, 1, -1, 0), (1, 0, 0, -1)])
def test_a_file_with_a_display_matrix(tmp_path, numbers):
    upright = decode_clip(write_av(tmp_path / "a.mp4", 3), 25, 120).images
    turned = decode_clip(write_av(tmp_path / "b.mp4", 3, matrix=matrix_of(*numbers)), 25, 120).images
    np.testing.assert_array_equal(turned, np.stack([ORIENTATIONS[numbers](image) for image in upright]))


def test_an_empty_chunk_of_an_avi_is_a_pause_not_the_end(tmp_path):
    """An AVI repeats the previous frame by an empty chunk."""
    path = write_video(tmp_path / "a.avi", 25, 20)
    content = path.read_bytes()
    start, end = packets(path)[10][0], packets(path)[11][0]
    emptied = content[: start + 4] + struct.pack("<I", 0) + b"JUNK" + struct.pack("<I", end - start - 16)
    path.write_bytes(emptied + content[start + 16 :])
    clip = decode_clip(path, 25, 48)
    assert shown(clip.images) == [*range(10), 9, *range(11, 20)]


def test_a_playlist_is_refused_if_only_some_formats_are_allowed(tmp_path):
    """A playlist makes FFmpeg read other files than the one it was given."""
    write_av(tmp_path / "secret.ts", 25, codec="mpeg2video")
    listed = tmp_path / "a.m3u8"
    listed.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nsecret.ts\n#EXT-X-ENDLIST\n")
    assert len(list(iterate_frames(listed, 25, 48))) == 25, "without a list of formats FFmpeg follows it"
    with pytest.raises(BrokenVideo, match="FFmpeg cannot read it"):
        list(iterate_frames(listed, 25, 48, formats=("mov", "avi")))
    path = write_av(tmp_path / "a.mp4", 2)
    assert len(list(iterate_frames(path, 25, 48, formats=("mov", "avi")))) == 2


def test_a_strip_is_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 2, "MJPG", 16, 1024)
    with pytest.raises(BrokenVideo, match="one side of its frames is more than 16 times the other; crop it to the action"):
        decode_clip(path, 25, 48)


@pytest.mark.parametrize("space", ["itu601", "itu709"])
def test_colours_follow_the_matrix_that_the_video_names(tmp_path, space):
    red = np.zeros((48, 64, 3), np.uint8)
    red[...] = (200, 30, 60)
    path: Path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = {"itu601": 6, "itu709": 1}[space]
        frame = av.VideoFrame.from_ndarray(red, format="rgb24").reformat(format="yuv420p", dst_colorspace=space)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.abs(decode_clip(path, 25, 48).images[0].astype(int) - red).max() <= 4


def test_a_video_whose_frames_change_size_keeps_the_first_size(tmp_path):
    small, large = (
        write_av(tmp_path / "s.ts", 5, codec="mpeg2video"),
        write_av(tmp_path / "l.ts", 5, codec="mpeg2video", width=320, height=240),
    )
    path = tmp_path / "a.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert decode_clip(path, 25, 48).images.shape[1:] == (48, 64, 3)
