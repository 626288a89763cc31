"""Each kind of source that has an end yields the frames of decoding. Live ones: test_live.py."""

import cv2
import numpy as np
import pytest

from pipeline.console import UserError
from pipeline.inference.sources import Images, Video, find_sources, first_seconds
from pipeline.video.decode import BrokenVideo, decode_clip
from tests.video.videos import picture, shown, write_gif, write_video


def write_images(folder, numbers, name="frame_{:04d}.png", **size):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), picture(number, **size)[:, :, ::-1])
    return folder


def read(source, fps=5.0, size=48):
    times, images = zip(*source.frames(fps, size), strict=True)
    return list(times), np.stack(images)


@pytest.mark.parametrize("kind", ["video", "gif"])
def test_a_file_yields_the_frames_of_decoding(tmp_path, kind):
    if kind == "video":
        path = write_video(tmp_path / "clip.avi", 25, 52)
    else:
        path = write_gif(tmp_path / "clip.gif", [100, 300, 50, 450, 100])
    (source,) = find_sources(str(path))
    times, images = read(source)
    expected = decode_clip(path, 5.0, 48)
    assert times == expected.timestamps.tolist() and len(times) > 4
    np.testing.assert_array_equal(images, expected.images)


def test_a_folder_of_images_is_one_sequence_ordered_by_number(tmp_path):
    write_images(tmp_path / "shots", range(12), name="shot{}.png")
    (source,) = find_sources(str(tmp_path / "shots"))
    times, images = read(source)
    assert shown(images) == list(range(12))
    assert times == [200_000 * k for k in range(12)]
    np.testing.assert_array_equal(images[7], picture(7))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (10, [0, 2, 4, 6, 8, 10]),
        (2.5, [k // 2 for k in range(24)]),
        (12, [0, 2, 4, 7, 9]),
        (None, list(range(12))),
    ],
)
def test_images_are_sampled_at_the_models_frame_rate(tmp_path, rate, expected):
    write_images(tmp_path, range(12))
    (source,) = find_sources(str(tmp_path / "frame_%04d.png"), rate)
    assert shown(read(source)[1]) == expected


def test_images_are_resized_as_videos_are(tmp_path):
    write_images(tmp_path, [9], width=160, height=120)
    write_video(tmp_path / "clip.avi", 5, 10, width=160, height=120)
    (sequence,), (video,) = find_sources(str(tmp_path / "frame_%d.png")), find_sources(str(tmp_path / "clip.avi"))
    image = read(sequence, size=32)[1]
    assert image.shape == (1, 32, 43, 3)
    expected = cv2.resize(picture(9, 160, 120), (43, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(image[0], expected)
    assert np.abs(image[0].astype(int) - read(video, size=32)[1][9]).mean() < 4  # the codec's losses


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [("frame_%04d.png", [8, 9, 10, 11]), ("frame_%d.png", [8, 9, 10, 11]), ("frame_00%2d.png", [8, 9, 10, 11]), ("f%d.png", [])],
)
def test_patterns(tmp_path, pattern, numbers):
    write_images(tmp_path, range(8, 12))
    (tmp_path / "frame_0001.txt").write_text("no image")
    (tmp_path / "frame_x.png").write_text("no number")
    if not numbers:
        with pytest.raises(UserError, match="no file matches it"):
            find_sources(str(tmp_path / pattern))
        return
    (source,) = find_sources(str(tmp_path / pattern))
    assert shown(read(source)[1]) == numbers


def test_leading_zeros_must_match_the_pattern(tmp_path):
    write_images(tmp_path, [1, 2], name="f{:04d}.png")
    write_images(tmp_path, [3], name="f{:02d}.png")
    write_images(tmp_path, [12345], name="f{}.png", width=32)
    (source,) = find_sources(str(tmp_path / "f%04d.png"))
    assert [path.name for path in source.paths] == ["f0001.png", "f0002.png", "f12345.png"]


def test_a_gap_in_the_numbers_is_reported_and_a_regular_step_is_not(tmp_path, capsys):
    write_images(tmp_path / "gap", [0, 1, 2, 5, 6])
    write_images(tmp_path / "step", [0, 5, 10, 15])
    find_sources(str(tmp_path / "step/frame_%04d.png"))
    assert capsys.readouterr().err == ""
    find_sources(str(tmp_path / "gap/frame_%04d.png"))
    assert "after 2 comes 5" in capsys.readouterr().err


def test_a_pattern_with_two_numbers_is_refused(tmp_path):
    with pytest.raises(UserError, match="exactly one number"):
        find_sources(str(tmp_path / "a%d_%d.png"))


def test_images_in_a_folder_with_videos_are_ignored(tmp_path, capsys):
    for name in ("b.avi", "a/z.avi", ".hidden/c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, 5, 2)
    (tmp_path / "a/z.avi").rename(tmp_path / "a/no suffix")
    (tmp_path / "notes.txt").write_text("no video")
    write_images(tmp_path / "thumbs", [1])
    found = find_sources(str(tmp_path))
    assert [source.name for source in found] == [str(tmp_path / "b.avi"), str(tmp_path / "a/no suffix")]
    assert all(isinstance(source, Video) for source in found)
    assert "left out: 1 file that is not a video (notes.txt)" in capsys.readouterr().err


def test_each_folder_of_images_is_a_sequence(tmp_path):
    write_images(tmp_path / "b", [1, 2])
    write_images(tmp_path / "a", [3])
    found = find_sources(str(tmp_path))
    assert [(source.name, len(source.paths)) for source in found] == [(str(tmp_path / "a"), 1), (str(tmp_path / "b"), 2)]


def test_missing_sources_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"contains neither videos nor images"):
        find_sources(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such file or folder"):
        find_sources(str(tmp_path / "none.mp4"))
    with pytest.raises(UserError, match="by its number, such as camera:0"):
        find_sources("camera:front")


def test_broken_images_are_reported_by_name(tmp_path, capsys):
    write_images(tmp_path, [0, 1])
    (tmp_path / "frame_0001.png").write_bytes(b"not an image")
    assert shown(read(find_sources(str(tmp_path / "frame_%04d.png"))[0])[1]) == [0, 0]
    assert "frame_%04d.png: decoded 1 of 2 frames: damaged data at 0.2 s" in capsys.readouterr().err
    (tmp_path / "frame_0000.png").write_bytes(b"not an image")
    with pytest.raises(BrokenVideo, match=r"2 of its 2 images cannot be read: frame_0000.png and 1 more"):
        read(find_sources(str(tmp_path / "frame_%04d.png"))[0])
    write_images(tmp_path, [0])
    write_images(tmp_path, [1], width=32)
    with pytest.raises(BrokenVideo, match=r"frame_0001.png: is 32x48 pixels, but the images before it are 64x48"):
        read(find_sources(str(tmp_path))[0])


def test_a_single_image_is_a_clip_of_one_frame(tmp_path):
    write_images(tmp_path, [5])
    (source,) = find_sources(str(tmp_path / "frame_0005.png"))
    assert isinstance(source, Images) and shown(read(source)[1]) == [5]


def test_only_the_first_seconds_are_read(tmp_path):
    write_images(tmp_path, range(12))
    (source,) = find_sources(str(tmp_path))
    assert len(list(first_seconds(source.frames(5.0, 48), 1.0))) == 5
    assert len(list(first_seconds(source.frames(5.0, 48), None))) == 12
