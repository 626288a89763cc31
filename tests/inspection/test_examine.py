import cv2
import numpy as np
import pytest

from pipeline.inspection.examine import Look, look_at, look_at_all
from pipeline.video.decode import BrokenVideo
from tests.video.videos import patch_avi, picture, shown, write_av, write_gif, write_video

QUARTER_TURN = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]


def test_header(tmp_path):
    look = look_at(write_av(tmp_path / "a.mp4", 50, fps=25, width=160, height=120))
    assert (look.codec, look.width, look.height, look.fps, look.seconds) == ("h264", 160, 120, 25.0, 2.0)
    assert (look.uneven, look.turned) == (0.0, False)


def test_thumbnail_shows_the_first_second_or_the_middle(tmp_path):
    def seen(frames: int) -> int:
        look = look_at(write_av(tmp_path / f"{frames}.mp4", frames, fps=10, width=160, height=120))
        image = cv2.imdecode(np.frombuffer(look.thumbnail, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image.shape == (90, 120, 3)
        return shown([image])[0]

    assert seen(40) == 10
    assert seen(8) == 4


def test_rotation_is_applied_to_size_and_thumbnail(tmp_path):
    look = look_at(write_av(tmp_path / "a.mp4", 20, width=160, height=120, matrix=QUARTER_TURN))
    assert (look.width, look.height, look.turned) == (120, 160, True)
    assert cv2.imdecode(np.frombuffer(look.thumbnail, np.uint8), cv2.IMREAD_COLOR).shape == (120, 90, 3)


def test_uneven_times(tmp_path):
    times = [index / 25 + (0.5 if index > 20 else 0) for index in range(40)]
    assert look_at(write_av(tmp_path / "pause.mp4", 40, times=times)).uneven == pytest.approx(1 / 39)
    times = np.cumsum([0.04 if index % 3 else 0.2 for index in range(40)]).tolist()
    assert look_at(write_av(tmp_path / "varied.mp4", 40, times=times)).uneven == pytest.approx(13 / 39)
    assert look_at(write_gif(tmp_path / "a.gif", [100, 100])).uneven is None


def test_colour(tmp_path):
    grey = [np.repeat(picture(index, 160, 120)[:, :, 1:2], 3, axis=2) for index in range(20)]
    assert look_at(write_av(tmp_path / "grey.mp4", 20, pictures=grey)).colour < 1
    assert look_at(write_av(tmp_path / "colour.mp4", 20)).colour > 10


def test_a_rate_that_is_wrong_is_kept_as_stated(tmp_path):
    look = look_at(patch_avi(write_video(tmp_path / "a.avi", 25, 20), scale=1, rate=900))
    assert look.fps == 900


def test_broken_files(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    assert isinstance(look_at(tmp_path / "text.mp4"), BrokenVideo)
    sound = write_av(tmp_path / "a.mp4", 10).with_name("sound.m4a")
    import av

    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert look_at(sound).reason == "holds no video stream, only audio or cover art"


def test_folder_of_images(tmp_path):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index, 64, 48)[:, :, ::-1])
    look = look_at(tmp_path, image_rate=2.0)
    assert (look.codec, look.width, look.height, look.fps, look.seconds) == (".png", 64, 48, 2.0, 2.0)
    assert look_at(tmp_path).seconds is None


def test_many_in_processes_in_the_given_order(tmp_path):
    names = [f"{number}.avi" for number in (3, 1, 2, 0, 4, 5, 6, 8, 7)]
    files = {name: write_video(tmp_path / name, 10, 5 + int(name[0])) for name in names}
    (tmp_path / "2.avi").write_bytes(b"")
    looks = look_at_all(files, None, workers=2)
    assert list(looks) == names
    assert looks.pop("2.avi").reason == "the file is empty"
    assert all(isinstance(look, Look) and look.seconds == (5 + int(name[0])) / 10 for name, look in looks.items())
