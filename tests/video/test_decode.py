"""The pixels of frames: sizes, colours, rotation, transparency; streamed, as a whole clip, and as JPEG."""

import struct
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.video.decode import EncodedClip, decode_clip, frame_size, iterate_frames
from pipeline.video.encoding import encode_clip
from tests.video.videos import picture, shown, write_gif, write_video


def test_colours_are_rgb(tmp_path):
    image = decode_clip(write_video(tmp_path / "a.avi", 25, 1), 5, 48).images[0]
    assert np.abs(image.astype(int) - picture(0)).max() < 12


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


def test_names_that_ffmpeg_could_misread(tmp_path, monkeypatch):
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
