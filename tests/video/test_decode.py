"""Synthesised videos whose frames show their own index as white and black bars, so that sampling is checked frame by frame."""

import math
import pickle
import re
import struct
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import stages.video.decode as decode
from stages.console import UserError
from stages.video.decode import BrokenVideo, EncodedClip, decode_clip, encode_clip, frame_size, iterate_frames

BITS = 8


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """RGB; the bits of `index` as vertical bars, the lowest at the left; red is low everywhere, so that BGR would show."""
    bars = np.array([(index >> bit) & 1 for bit in range(BITS)], np.uint8) * 200 + 20
    row = bars[np.arange(width) * BITS // width]
    image = np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)
    image[:, :, 0] //= 2
    return image


def shown(images: np.ndarray) -> list[int]:
    """The indices that frames show."""
    indices = []
    for image in images:
        columns = image[:, :, 1].mean(axis=0)
        bars = [columns[(2 * bit + 1) * len(columns) // (2 * BITS)] for bit in range(BITS)]
        indices.append(sum(1 << bit for bit, level in enumerate(bars) if level > 120))
    return indices


def write_video(path: Path, fps: float, frames: int, codec: str = "MJPG", width: int = 64, height: int = 48) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot encode {codec} into {path.suffix}")
    for index in range(frames):
        writer.write(picture(index, width, height)[:, :, ::-1])
    writer.release()
    return path


def write_gif(path: Path, milliseconds: list[int]) -> Path:
    images = [Image.fromarray(picture(index)) for index in range(len(milliseconds))]
    images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds)
    return path


def patch_avi(path: Path, *, scale: int | None = None, rate: int | None = None, frames: int | None = None) -> Path:
    """Changes the stream header (AVISTREAMHEADER: dwScale, dwRate and dwLength at bytes 20, 24 and 32)."""
    content = bytearray(path.read_bytes())
    header = content.index(b"strh") + 8
    for offset, value in ((20, scale), (24, rate), (32, frames)):
        if value is not None:
            struct.pack_into("<I", content, header + offset, value)
    if frames is not None:
        struct.pack_into("<I", content, content.index(b"avih") + 8 + 16, frames)
    path.write_bytes(content)
    return path


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


def test_colours_are_rgb(tmp_path):
    image = decode_clip(write_video(tmp_path / "a.avi", 25, 1), 5, 48).images[0]
    assert np.abs(image.astype(int) - picture(0)).max() < 12


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
    clock = decode._Clock(Path("a.avi"), Times(fps, milliseconds))
    return [float(clock.tick()) for _ in milliseconds]


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


@pytest.mark.parametrize(
    ("width", "height", "size", "out"),
    [
        (320, 240, 172, (229, 172)),
        (240, 320, 172, (172, 229)),
        (64, 64, 33, (33, 33)),
        (1920, 1080, 224, (398, 224)),
        (100, 40, 41, (103, 41)),
        (16, 8, 64, (128, 64)),
    ],
)
def test_frame_size(width, height, size, out):
    assert frame_size(width, height, size) == out


@pytest.mark.parametrize(("width", "height", "size"), [(64, 48, 32), (48, 80, 32), (34, 22, 64), (66, 50, 33), (16, 16, 224)])
def test_sizes(tmp_path, width, height, size):
    clip = decode_clip(write_video(tmp_path / "a.avi", 5, 3, "MJPG", width, height), 5, size)
    out_width, out_height = frame_size(width, height, size)
    assert clip.images.shape == (3, out_height, out_width, 3)
    assert min(out_width, out_height) == size
    assert shown(clip.images) == [0, 1, 2]


def test_shrinking_averages_areas(tmp_path):
    """Of every four columns the outer two are bright: grey when averaged, black when only the nearest pixels count."""
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"FFV1"), 5, (128, 128))
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, 0::4] = stripes[:, 3::4] = 240
    writer.write(stripes)
    writer.release()
    image = decode_clip(tmp_path / "a.avi", 5, 32).images[0].astype(int)
    assert np.abs(image - 120).max() < 10


def test_rotation_metadata(tmp_path):
    """A quarter turn in the track header's matrix: portrait video, as phones write it."""
    path = write_video(tmp_path / "a.mp4", 5, 4, "mp4v")
    upright = decode_clip(path, 5, 48).images
    content = bytearray(path.read_bytes())
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = content.index(identity, content.index(b"tkhd"))
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    turned = decode_clip(path, 5, 48).images
    assert turned.shape == (4, 64, 48, 3)
    assert np.array_equal(turned, np.rot90(upright, -1, axes=(1, 2)))


def test_gif_with_alpha_and_one_frame(tmp_path):
    images = []
    for index in range(4):
        pixels = np.zeros((48, 64, 4), np.uint8)
        pixels[10:20, 15 * index : 15 * index + 10] = (255, 0, 0, 255)
        images.append(Image.fromarray(pixels))
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=200, disposal=2)
    clip = decode_clip(tmp_path / "a.gif", 5, 48).images
    assert clip.shape == (4, 48, 64, 3)
    for index, image in enumerate(clip):
        red = (image[:, :, 0] > 200) & (image[:, :, 1] < 50)
        assert np.argwhere(red).min(axis=0).tolist() == [10, 15 * index]
    one = decode_clip(write_gif(tmp_path / "one.gif", [100]), 5, 48)
    assert shown(one.images) == [0] and one.timestamps.tolist() == [0]


def test_streaming_is_lazy_and_equal(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 100)
    whole = decode_clip(path, 5, 32)
    frames = iterate_frames(path, 5, 32)
    start = list(islice(frames, 3))
    frames.close()
    assert [time for time, _ in start] == [0, 200_000, 400_000]
    assert np.array_equal(np.stack([image for _, image in start]), whole.images[:3])
    assert np.array_equal(np.stack([image for _, image in iterate_frames(path, 5, 32, threads=2)]), whole.images)
    slow = [image for _, image in iterate_frames(write_video(tmp_path / "b.avi", 5, 2), 15, 32)]
    assert slow[0] is slow[1] is slow[2] and slow[2] is not slow[3]
    with pytest.raises(ValueError, match="read-only"):
        slow[0][:] = 0


def broken(path: Path) -> str:
    with pytest.raises(BrokenVideo) as caught:
        decode_clip(path, 5, 48)
    assert str(caught.value) == f"{path}: {caught.value.reason}" and "\n" not in str(caught.value)
    return caught.value.reason


def test_broken_videos_say_why(tmp_path):
    whole = write_video(tmp_path / "a.avi", 25, 20).read_bytes()
    assert broken(tmp_path / "absent.avi") == "there is no such file"
    path = tmp_path / "b.avi"
    path.write_bytes(b"")
    assert broken(path) == "the file is empty"
    path.write_text("not a video\n" * 100)
    assert "FFmpeg cannot read it" in broken(path)
    path.write_bytes(whole[: len(whole) * 6 // 10])
    assert re.fullmatch(r"truncated: \d of the 20 frames its header promises can be decoded", broken(path))
    with pytest.raises(UserError):
        decode_clip(path, 5, 48)


def test_a_video_that_lost_its_end_is_kept(tmp_path):
    path = write_video(tmp_path / "a.avi", 25, 20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    indices = shown(decode_clip(path, 25, 48).images)
    assert 10 <= len(indices) < 20 and indices == list(range(len(indices)))


def test_the_headers_frame_count_is_not_trusted(tmp_path):
    path = patch_avi(write_video(tmp_path / "a.avi", 25, 20), frames=35)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 35
    assert shown(decode_clip(path, 25, 48).images) == list(range(20))
    assert "truncated: 20 of the 41" in broken(patch_avi(path, frames=41))


def test_truncated_means_both_few_frames_and_little_time():
    promise = type("Capture", (), {"get": lambda self, what: 20})()
    period = Fraction(1, 25)
    for frames, seconds in ((9, 0.5), (15, 0.2), (10, 0.4)):
        decode._check_length(Path("a.avi"), promise, frames, Fraction(seconds), period)
    with pytest.raises(BrokenVideo, match="truncated: 9 of the 20"):
        decode._check_length(Path("a.avi"), promise, 9, Fraction(9, 25), period)


def test_a_broken_stretch_keeps_the_timing(tmp_path):
    """Zeros over the middle of the file: the frames that decode stand at their own times."""
    path = write_video(tmp_path / "a.avi", 5, 40)
    content = bytearray(path.read_bytes())
    chunks = [match.start() for match in re.finditer(b"00dc", bytes(content))][:40]
    for chunk in chunks[10:15]:
        content[chunk + 8 : chunk + 40] = bytes(32)
    path.write_bytes(content)
    indices = shown(decode_clip(path, 5, 48).images)
    assert len(indices) == 40 and indices[:10] == list(range(10)) and indices[15:] == list(range(15, 40))


def test_names_that_ffmpeg_could_take_for_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:a.avi", "a %03d.avi", "-clip ü.avi"):
        write_video(tmp_path / "a.avi", 5, 2).rename(tmp_path / name)
        assert shown(decode_clip(Path(name), 5, 48).images) == [0, 1]


def test_encoding(tmp_path):
    path = write_video(tmp_path / "a.avi", 5, 4)
    whole = decode_clip(path, 10, 48)
    clip = encode_clip(path, 10, 48, 95)
    assert isinstance(clip, EncodedClip) and clip.timestamps == whole.timestamps.tolist()
    decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1] for jpeg in clip.jpegs]
    assert np.abs(np.stack(decoded).astype(int) - whole.images).mean() < 3
    assert shown(np.stack(decoded)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sum(map(len, encode_clip(path, 10, 48, 30).jpegs)) < sum(map(len, clip.jpegs))


def test_a_broken_video_comes_back_from_a_worker(tmp_path):
    result = encode_clip(tmp_path / "absent.avi", 5, 48, 95)
    assert isinstance(result, BrokenVideo)
    again = pickle.loads(pickle.dumps(result))
    assert (again.path, again.reason, str(again)) == (result.path, result.reason, str(result))
