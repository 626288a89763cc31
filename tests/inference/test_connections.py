"""How streams and cameras open and fail, and that their frames look like those of files."""

import socket
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

import pipeline.inference.connections as connections
import pipeline.inference.remote as remote
from pipeline.console import UserError
from pipeline.inference.connections import CameraConnection, Lost, StreamConnection, interruptible
from pipeline.inference.live import Live, Patience
from pipeline.inference.sources import RemoteFile, find_sources, is_live
from pipeline.video.decode import decode_clip
from tests.inference.stream_server import StreamServer
from tests.range_server import RangeServer, wait_until
from tests.servers import free_port
from tests.video.videos import overwrite, packets, picture, shown, write_av, write_video

QUARTER_TURN = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]


def read(connection, size=48):
    return np.stack([image(size) for image in connection.pictures(threading.Event())])


@pytest.mark.parametrize("shape", [{}, {"aspect": Fraction(4, 3)}, {"matrix": QUARTER_TURN}])
def test_frames_of_a_stream_are_shown_as_those_of_a_file(tmp_path, shape):
    path = write_av(tmp_path / "clip.mp4", 12, fps=25, **shape)
    connection = StreamConnection("clip", str(path), 5.0)
    images = read(connection)
    connection.close()
    assert shown(images[:1]) == [0] or shape.get("matrix")
    np.testing.assert_array_equal(images, decode_clip(path, 25.0, 48).images)


def test_damaged_packets_are_counted_and_the_others_decoded(tmp_path):
    path = write_av(tmp_path / "clip.mp4", 30, options={"g": "5", "bf": "0"})
    offset, size = packets(path)[11]
    overwrite(path, offset + 4, b"\xff" * (size - 4))
    connection = StreamConnection("clip", str(path), 5.0)
    assert len(read(connection)) >= 28 and connection.damaged >= 1
    connection.close()
    intact = StreamConnection("clip", str(write_av(tmp_path / "intact.mp4", 30)), 5.0)
    assert len(read(intact)) == 30 and intact.damaged == 0


def test_a_recording_in_segments_is_played_at_its_own_pace_until_its_end(tmp_path):
    import av

    with av.open(str(tmp_path / "x.m3u8"), "w", options={"hls_time": "1", "hls_playlist_type": "vod"}) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode(None))
    with RangeServer({path.name: path.read_bytes() for path in tmp_path.iterdir()}) as server:
        (source,) = find_sources(server.url("x.m3u8"), patience=Patience(5.0, 0.0))
        assert source.live
        seen = list(source.frames(10.0, 48))
    indices = shown([image for _, image in seen])
    assert indices == sorted(set(indices)) and len(indices) > 10 and indices[-1] == 19
    assert seen[-1][0] > 1_700_000  # all segments were there at once


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_a_refused_connection_is_an_error_at_once(scheme):
    url = f"{scheme}://me:geheim@127.0.0.1:{free_port()}/x?token=geheim"
    with pytest.raises(
        UserError, match=r"://127.0.0.1:\d+/x: the connection is refused: no server listens there; check"
    ) as caught:
        list(find_sources(url)[0].frames(5.0, 48))
    assert "geheim" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_server_that_says_nothing_is_an_error_after_the_timeout(scheme):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(UserError, match=r"/x: no (video|answer) within 0\.[35]"):
            list(find_sources(url, patience=Patience(0.3, 60.0))[0].frames(5.0, 48))
    wait_until(lambda: not any(thread.name.startswith(("reader", "connecting")) for thread in threading.enumerate()))


def test_udp_without_a_sender_is_an_error_after_the_timeout():
    with pytest.raises(UserError, match=r"udp://127.0.0.1:\d+: no video within 0.3 s; check the address"):
        list(find_sources(f"udp://127.0.0.1:{free_port()}", patience=Patience(0.3, 60.0))[0].frames(5.0, 48))


def test_an_interrupted_wait_says_that_no_data_came():
    """FFmpeg may report its interrupt a little before the timeout by the other clock."""

    class Container:
        def demux(self):
            raise av.error.ExitError(-1414092869, "Immediate exit requested")
            yield

    connection = object.__new__(StreamConnection)
    connection._container, connection._timeout = Container(), 5.0
    with pytest.raises(Lost, match="no data for 5 s"):
        next(connection._packets())


def test_unknown_hosts_addresses_and_content_are_told_apart():
    with pytest.raises(UserError, match=r"http://nosuch.invalid/x: there is no host nosuch.invalid; check the address"):
        find_sources("http://me:geheim@nosuch.invalid/x")
    with RangeServer({"page": b"<html>" * 1000}) as server:
        with pytest.raises(UserError, match="/page: what it sends is not a video that FFmpeg can read"):
            find_sources(server.url("page"))
        with pytest.raises(UserError, match="/none: 404 Not Found"):
            find_sources(server.url("none"))
    with pytest.raises(
        UserError, match=r"srt://host/x: srt:// cannot be read; addresses begin with rtsp, rtsps, rtmp, udp, http"
    ):
        find_sources("srt://me:geheim@host/x")


def test_other_than_http_addresses_are_opened_when_they_are_read():
    (source,) = find_sources("RTSP://me:geheim@cam.invalid:554/live?token=geheim")
    assert isinstance(source, Live) and source.name == "rtsp://cam.invalid:554/live"


@pytest.mark.parametrize(("address", "expected"), [("x", "tcp"), ("x?udp", None), ("x?a=1&multicast", None)])
def test_rtsp_comes_over_tcp_unless_the_address_says_otherwise(monkeypatch, address, expected):
    def opened(url, container_options, **more):
        raise connections.av.error.ConnectionRefusedError(111, container_options.get("rtsp_transport"))

    monkeypatch.setattr(connections.av, "open", opened)
    with pytest.raises(Lost) as caught:
        StreamConnection("x", f"rtsp://cam/{address}", 1.0)
    assert caught.value.__context__.args[1] == expected


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("camera:0", True),
        ("/dev/null", True),
        ("rtsp://h/x", True),
        ("RTMP://h/x", True),
        ("udp://@:1234", True),
        ("http://h/x", False),
        ("https://h/x.mp4", False),
        ("clip.mp4", False),
        ("srt://h/x", False),
        ("rtsp", False),
    ],
)
def test_names_that_say_that_a_source_has_no_end(name, live):
    assert is_live(name) == live


def test_a_file_on_a_web_server_has_the_frames_of_the_file(tmp_path, capsys):
    path = write_video(tmp_path / "clip.avi", 25, 52)
    expected = decode_clip(path, 5.0, 48)
    with RangeServer({"clip.avi": path.read_bytes()}) as server:
        (source,) = find_sources(server.url("clip.avi"))
        assert isinstance(source, RemoteFile) and not source.live
        for _ in range(2):
            server.reset_counts()
            times, images = zip(*source.frames(5.0, 48), strict=True)
            assert list(times) == expected.timestamps.tolist()
            np.testing.assert_array_equal(np.stack(images), expected.images)
        assert server.requests == 0  # it was downloaded once


def test_a_download_that_is_cut_resumes(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.avi", 25, 52)
    with RangeServer({"clip.avi": path.read_bytes()}) as server:
        server.etags["clip.avi"] = '"1"'
        (source,) = find_sources(server.url("clip.avi"))
        monkeypatch.setattr(remote, "_CHUNK", 100)  # what was received of a chunk is lost
        server.misbehave("cut", 1)
        assert len(list(source.frames(5.0, 48))) == len(decode_clip(path, 5.0, 48).images)
        half = path.stat().st_size // 2
        first, last = server.ranges[-1]
        assert half - 100 < first <= half and last == path.stat().st_size - 1


def test_a_download_without_versions_starts_over_after_a_cut_and_gives_up_in_time(tmp_path):
    path = write_video(tmp_path / "clip.avi", 25, 52)
    with RangeServer({"clip.avi": path.read_bytes()}) as server:
        (source,) = find_sources(server.url("clip.avi"), patience=Patience(5.0, 0.3))
        server.misbehave("reset", 50)
        with pytest.raises(UserError, match=r"/clip.avi: the download was cut; gave up after 0.3 s without data; try again"):
            list(source.frames(5.0, 48))
        server._faults.clear()
        server.misbehave("denied", 1)
        with pytest.raises(UserError, match=r"/clip.avi: 403 Forbidden"):
            list(source.frames(5.0, 48))
        server.misbehave("cut", 1)
        assert len(list(find_sources(server.url("clip.avi"))[0].frames(5.0, 48))) == len(decode_clip(path, 5.0, 48).images)


def test_an_image_on_a_web_server_is_a_clip_of_one_frame(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "x.png"), picture(77)[:, :, ::-1])
    with RangeServer({"x.png": (tmp_path / "x.png").read_bytes()}) as server:
        (source,) = find_sources(server.url("x.png"))
        assert not source.live
        assert [shown([image]) for _, image in source.frames(5.0, 48)] == [[77]]


def test_a_stream_over_http_is_live():
    with StreamServer() as server:
        (source,) = find_sources(server.url)
        assert source.live and source.name == server.url.partition("?")[0]


class FakeCapture:
    """A camera that delivers `frames` pictures. opened: with what it was."""

    def __init__(self, frames, opened=True):
        self.number, self.frames, self.works, self.released, self.opened = -1, frames, opened, False, None

    def __call__(self, *arguments):
        self.opened = arguments
        return self

    def isOpened(self):  # noqa: N802
        return self.works

    def set(self, key, value):
        return True

    def grab(self):
        self.number += 1
        return self.number < self.frames

    def retrieve(self):
        return True, picture(self.number, 96, 72)[:, :, ::-1]

    def release(self):
        self.released = True


@pytest.mark.parametrize(("name", "device"), [("camera:2", 2), ("/dev/null", "/dev/null")])
def test_a_camera_is_opened_by_number_or_by_device_and_released(monkeypatch, name, device):
    capture = FakeCapture(3)
    monkeypatch.setattr(connections.cv2, "VideoCapture", capture)
    (source,) = find_sources(name, patience=Patience(5.0, 0.0))
    images = []
    with pytest.raises(
        UserError, match=rf"{name}: gave up 0 s after its last frame: it stopped delivering frames; check that it is"
    ):
        images.extend(image for _, image in source.frames(5.0, 48))
    assert capture.opened[0] == device and capture.released
    assert capture.opened[1] == (connections.cv2.CAP_ANY if device == 2 else connections.cv2.CAP_V4L2)


def test_frames_of_a_camera_are_resized_and_in_rgb(monkeypatch):
    monkeypatch.setattr(connections.cv2, "VideoCapture", FakeCapture(3))
    pictures = CameraConnection(0).pictures(threading.Event())
    images = [next(pictures)(48) for _ in range(3)]
    assert shown(images) == [0, 1, 2] and images[0].shape == (48, 64, 3)
    assert (images[2][:, :, 0].mean(), images[2][:, :, 2].mean()) == pytest.approx((22.5, 45), abs=2)
    with pytest.raises(Lost, match="it stopped delivering frames"):
        next(pictures)


def test_a_camera_that_cannot_be_opened_is_an_error_and_is_released(monkeypatch):
    capture = FakeCapture(3, opened=False)
    monkeypatch.setattr(connections.cv2, "VideoCapture", capture)
    with pytest.raises(UserError, match="camera:0: no such camera, or another program uses it; check that it is connected"):
        list(find_sources("camera:0")[0].frames(5.0, 48))
    assert capture.released


def test_a_call_in_a_thread_returns_raises_and_ends_in_time():
    woken = threading.Event()
    assert interruptible(lambda: 5, 10.0) == 5
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, 10.0)
    with pytest.raises(Lost, match=r"no answer within 0.1 s"):
        interruptible(lambda: woken.wait(30), 0.1)
    woken.set()
