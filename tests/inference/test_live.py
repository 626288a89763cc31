"""Live sources: which frames are used, on a clock of the test; and cuts, of a real stream on the loopback."""

import queue
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import pipeline.inference.live as live
from pipeline.console import UserError
from pipeline.inference.connections import Lost
from pipeline.inference.live import Live, Patience, Reader
from pipeline.inference.sources import find_sources
from pipeline.inference.streaming import stream_frames
from tests.inference.small import Brightness, streaming
from tests.inference.stream_server import FPS, StreamServer
from tests.range_server import wait_until
from tests.video.videos import shown


class Scripted:
    """A connection that delivers what the test shows, at the time of the test's clock."""

    damaged = 0

    def __init__(self, clock):
        self.clock, self.shown, self.taken = clock, queue.Queue(), queue.Queue()

    def pictures(self, stop):
        while not stop.is_set():
            try:
                at, index = self.shown.get(timeout=0.01)
            except queue.Empty:
                continue
            self.clock.now = at
            if isinstance(index, Exception):
                raise index
            yield lambda size, index=index: index
            self.taken.put(index)  # the reader asks for the next one, so it has this one

    def close(self):
        pass

    def show(self, at, index):
        self.shown.put((at, index))
        self.taken.get(timeout=10)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def camera(clock):
    return Scripted(clock)


@pytest.fixture
def server():
    with StreamServer() as server:
        yield server


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader of")]


def take_all(camera, times, fps=5.0):
    """Shows a frame at each time to a reader whose frames are taken as soon as they are due; returns their numbers."""
    used = []
    with Reader("camera:0", lambda timeout: camera, fps, Patience(), "") as reader:
        for index, seconds in enumerate(times):
            camera.show(100 + seconds, index)
            if reader._waiting:
                used.append(reader.take()[1](48))
        assert reader.counts == (len(used), 0, 0, 0.0, 0)
    return used


def test_frames_of_a_faster_source_are_used_at_the_models_rate(camera):
    assert take_all(camera, [k / 30 for k in range(60)]) == [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]


def test_a_source_at_the_models_rate_or_slower_loses_no_frame(camera, clock):
    early_and_late = [0.2 * k + (0.03 if k % 2 else -0.03) * (k > 0) for k in range(40)]
    assert take_all(camera, early_and_late) == list(range(40))
    assert take_all(Scripted(clock), [k / 3 for k in range(20)]) == list(range(20))


def test_after_a_pause_the_source_is_not_used_faster_than_the_models_rate(camera):
    assert take_all(camera, [0.0, 5.0] + [5 + k / 50 for k in range(1, 40)]) == [0, 1, 9, 19, 29, 39]


def test_a_slow_classifier_gets_the_newest_frame_and_the_others_count_as_dropped(camera, capsys):
    camera.shown.put((100.0, 0))
    frames = Live("camera:0", lambda timeout: camera, "").frames(5.0, 48)
    assert next(frames) == (0, 0)
    assert camera.taken.get(timeout=10) == 0
    for k in range(1, 31):  # a second, in which five frames become due
        camera.show(100 + k / 30, k)
    assert next(frames) == (1_000_000, 30)
    for k in range(31, 43):  # two frames become due, one of them early
        camera.show(100 + k / 30, k)
    assert next(frames) == (1_400_000, 42)
    frames.close()
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "camera:0: 3 frames in 1.4 s, 5 dropped because the classifier was too slow (62%)"
    assert "camera:0: 1.4 frames a second were processed, the network was trained at 5: accuracy may suffer" in err


def test_with_a_backlog_frames_wait_and_only_those_beyond_it_are_dropped(camera, capsys):
    camera.shown.put((100.0, 0))
    frames = Live("camera:0", lambda timeout: camera, "", backlog=3).frames(5.0, 48)
    assert next(frames) == (0, 0) and camera.taken.get(timeout=10) == 0
    for k in range(1, 31):  # a second, in which five frames become due, all a little early; the last one that waits is the newest
        camera.show(100 + k / 30, k)
    assert [next(frames) for _ in range(3)] == [(166_667, 5), (366_667, 11), (1_000_000, 30)]
    camera.show(101.2, 36)
    assert next(frames) == (1_200_000, 36)
    frames.close()
    assert capsys.readouterr().err.splitlines()[0].startswith("camera:0: 5 frames in 1.2 s, 2 dropped")


def test_a_classifier_that_is_fast_enough_gets_no_note(camera, capsys):
    camera.shown.put((100.0, 0))
    frames = Live("camera:0", lambda timeout: camera, "").frames(5.0, 48)
    assert next(frames) == (0, 0) and camera.taken.get(timeout=10) == 0
    for k in range(1, 5):
        camera.show(100 + k / 5, k)
        assert next(frames) == (200_000 * k, k)
    frames.close()
    assert capsys.readouterr().err == "camera:0: 5 frames in 0.8 s, 0 dropped because the classifier was too slow (0%)\n"


@pytest.mark.parametrize(("each", "notes"), [(1, []), (3, [120, 180])])
def test_many_dropped_frames_are_noted_once_a_minute(camera, capsys, each, notes):
    """each: frames of 5 a second that come while one is classified. The first minute is not slow."""
    camera.shown.put((100.0, 0))
    frames = Live("camera:0", lambda timeout: camera, "").frames(5.0, 48)
    next(frames), camera.taken.get(timeout=10)
    noted, k = [], 0
    while k < 5 * 190:
        for _ in range(1 if k < 5 * 60 else each):
            k += 1
            camera.show(100 + k / 5, k)
        next(frames)
        if "dropped because the classifier was too slow (67%) in the last 60 s" in capsys.readouterr().err:
            noted.append(k / 5)
    frames.close()
    assert len(noted) == len(notes) and noted == pytest.approx(notes, abs=2)


def test_a_short_cut_is_said_once_and_the_times_go_on(camera, clock, capsys, monkeypatch):
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    tries = [camera, Lost("refused"), Lost("refused"), Scripted(clock)]
    connections = iter(tries)

    def connect(timeout):
        connection = next(connections)
        if isinstance(connection, Lost):
            raise connection
        return connection

    camera.shown.put((100.0, 7))
    tries[3].shown.put((108.0, 9))
    frames = Live("rtsp://cam/x", connect, "").frames(5.0, 48)
    assert next(frames) == (0, 7)
    camera.shown.put((101.0, Lost("the server ended the stream")))
    assert next(frames) == (8_000_000, 9)
    frames.close()
    assert capsys.readouterr().err.splitlines() == [
        "warning: rtsp://cam/x: connection lost: the server ended the stream; reconnecting for up to 60 s",
        "note: rtsp://cam/x: back after 8.0 s without a frame",
        "rtsp://cam/x: 2 frames in 8.0 s, 0 dropped because the classifier was too slow (0%); 1 cut, 8.0 s lost",
    ]


def test_damaged_packets_of_all_connections_are_counted(clock, capsys, monkeypatch):
    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    first, second = Scripted(clock), Scripted(clock)
    connections = iter([first, second])
    first.shown.put((100.0, 0))
    frames = Live("rtsp://cam/x", lambda timeout: next(connections), "").frames(5.0, 48)
    assert next(frames) == (0, 0) and first.taken.get(timeout=10) == 0
    first.damaged = 2
    first.show(100.2, 1)
    assert next(frames) == (200_000, 1)
    first.shown.put((100.3, Lost("cut")))
    second.damaged = 1
    second.shown.put((100.4, 2))
    assert next(frames) == (400_000, 2)
    frames.close()
    assert "(0%); 3 damaged packets; 1 cut, 0.2 s lost" in capsys.readouterr().err


def test_the_regular_end_of_a_source_is_no_cut(capsys):
    connection = SimpleNamespace(pictures=lambda stop: iter([lambda size: 5]), close=lambda: None, damaged=0)
    assert list(Live("rtsp://cam/x", lambda timeout: connection, "").frames(5.0, 48)) == [(0, 5)]
    assert "lost" not in capsys.readouterr().err and not readers()


def test_an_error_of_the_reader_is_raised_where_frames_are_asked_for():
    def connect(timeout):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(Live("camera:0", connect, "").frames(5.0, 48))


def test_a_library_that_hangs_is_left_behind(capsys, monkeypatch):
    """Deadlines hold without its help: for the first frame, for the next and for giving up."""
    monkeypatch.setattr(live, "GRACE", 0.05)
    woken = threading.Event()

    def hang(stop):
        yield lambda size: 1
        woken.wait(30)

    try:
        source = Live("camera:0", lambda timeout: woken.wait(30), "check it", Patience(0.1, 0.3))
        with pytest.raises(UserError, match=r"camera:0: no video within 0\.1 s; check it"):
            next(source.frames(5.0, 48))
        connection = SimpleNamespace(pictures=hang, close=lambda: None, damaged=0)
        frames = Live("camera:1", lambda timeout: connection, "check it", Patience(0.1, 0.3)).frames(5.0, 48)
        assert next(frames) == (0, 1)
        with pytest.raises(UserError, match=r"camera:1: gave up 0 s after its last frame: no frame for 0\.1 s; check it"):
            next(frames)
        assert capsys.readouterr().err.count("camera:1: connection lost: no frame for 0.1 s; reconnecting for up to 0.3 s") == 1
    finally:
        woken.set()
    wait_until(lambda: not readers())


def numbers(frames, count):
    """(seconds, number) of the next `count` frames."""
    return [(timestamp / 1e6, shown([image])[0]) for timestamp, image in (next(frames) for _ in range(count))]


def assert_newest(seen):
    """Times increase, and the pictures' numbers with them: none is repeated, late or out of order. Modulo 256."""
    times, indices = np.array([at for at, _ in seen]), np.array([index for _, index in seen])
    steps = np.diff(indices) % 256
    assert (np.diff(times) > 0).all() and (steps > 0).all()
    assert np.abs(steps.cumsum() - FPS * (times[1:] - times[0])).max() < 0.4 * FPS  # the machine may be busy


def open_stream(server, timeout=5.0, reconnect=20.0):
    (source,) = find_sources(server.url.replace("http://", "http://me:secret@"), patience=Patience(timeout, reconnect))
    assert source.live
    return source


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live, "FIRST_WAIT", 0.05)


def test_a_stream_is_used_at_the_models_rate(server):
    frames = open_stream(server).frames(10.0, 48)
    seen = numbers(frames, 10)
    assert seen[0][0] == 0
    assert_newest(seen)
    frames.close()
    assert not readers()


def test_a_slow_classifier_does_not_fall_behind_a_stream(server):
    frames = open_stream(server).frames(25.0, 48)
    seen = []
    for _ in range(4):
        seen += numbers(frames, 1)
        sent = server.sent
        wait_until(lambda sent=sent: (server.sent - sent) % 256 >= 15)
    frames.close()
    assert_newest(seen)


@pytest.mark.parametrize("kind", ["cut", "stall", "garbage"])
def test_a_stream_comes_back_after(server, quick, capsys, kind):
    frames = open_stream(server, timeout=0.5).frames(25.0, 48)
    seen = numbers(frames, 3)
    clients = server.clients
    if kind == "cut":
        server.cut()
    else:
        server.mode = kind
    # What comes back is asked for in this thread, so another one lets it: when the loss was said and a new connection was tried.
    err = []

    def come_back():
        def said():
            err.append(capsys.readouterr().err)
            return "connection lost" in "".join(err)

        wait_until(said)
        if kind == "cut":
            server.start()
        else:
            wait_until(lambda: server.clients > clients)
            server.mode = "send"

    thread = threading.Thread(target=come_back)
    thread.start()
    before = len(seen)
    while "back after" not in "".join(err):
        seen += numbers(frames, 1)
        if not thread.is_alive():
            err.append(capsys.readouterr().err)
    thread.join()
    seen += numbers(frames, 3)
    frames.close()
    lines = ("".join(err) + capsys.readouterr().err).splitlines()
    assert len(seen) >= before + 4
    assert_newest(seen)
    reason = "no data for 0.5 s; reconnecting for up to 20 s" if kind == "stall" else "the "
    assert lines[0].startswith(f"warning: http://127.0.0.1:{server._port}/stream: connection lost: {reason}")
    lost = float(lines[1].split("back after ")[1].split(" s")[0])
    gaps = np.diff([at for at, _ in seen])
    assert lost - 0.06 < gaps.max() < lost + 1  # this thread may be late for the first frame
    assert lines[2].endswith(f"; 1 cut, {lost:.1f} s lost") and "secret" not in "".join(lines) and "geheim" not in "".join(lines)
    wait_until(lambda: not readers())


def test_a_stream_that_does_not_come_back_is_given_up(server, quick, capsys):
    frames = open_stream(server, timeout=0.5, reconnect=0.6).frames(25.0, 48)
    numbers(frames, 2)
    server.cut()
    with pytest.raises(
        UserError, match=r"/stream: gave up 1 s after its last frame: the connection is refused.*; check the address"
    ):
        numbers(frames, 1000)
    err = capsys.readouterr().err
    assert err.count("connection lost") == 1 and "reconnecting for up to 0.6 s" in err and "back" not in err
    wait_until(lambda: not readers())
    server.start()


def test_a_lost_stream_is_given_up_at_once_if_that_is_asked_for(server, capsys):
    frames = open_stream(server, reconnect=0.0).frames(25.0, 48)
    numbers(frames, 2)
    server.cut()
    with pytest.raises(UserError, match="gave up 0 s after its last frame: the "):
        numbers(frames, 1000)
    assert "reconnecting" not in capsys.readouterr().err
    server.start()


def test_a_cut_at_every_frame_does_not_flood_the_server(quick, monkeypatch, capsys):
    """The waits between attempts grow, although each one succeeds."""
    waits = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: waits.append(seconds))

    def pictures(stop):
        yield lambda size: 1
        raise Lost("the server ended the stream")

    frames = Live("rtsp://cam/x", lambda timeout: SimpleNamespace(pictures=pictures, close=lambda: None, damaged=0), "").frames(
        5.0, 48
    )
    while len(waits) < 12:
        next(frames)
    frames.close()
    between = [seconds for seconds in waits if seconds is not None]  # the start of a thread is awaited without limit
    assert between[:10] == [*(0.05 * 2**k for k in range(8)), live.LONGEST_WAIT, live.LONGEST_WAIT]


def test_ctrl_c_ends_a_stream_that_stalls(server, heeds_ctrl_c):
    frames = open_stream(server, timeout=8.0).frames(25.0, 48)
    numbers(frames, 2)
    server.mode = "stall"
    began = time.monotonic()
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()  # in a thread: this one is not woken by it
    with pytest.raises(KeyboardInterrupt):
        numbers(frames, 1000)
    assert time.monotonic() - began < 6  # well before the timeout
    server.mode = "send"  # ends the reader, which waits for data
    wait_until(lambda: not readers())


class Cut:
    """A live source whose frames come at the given seconds, dark at first and bright after the tenth."""

    name, live = "rtsp://cam/x", True

    def __init__(self, times):
        self.times = times

    def frames(self, fps, size):
        for number, seconds in enumerate(self.times):
            yield round(seconds * 1e6), np.full((size, size, 3), 20 if number < 10 else 250, np.uint8)


@pytest.mark.parametrize(("gap", "resets"), [(2.9, 0), (3.0, 1)])
def test_the_states_are_reset_after_a_long_cut_alone(gap, resets):
    times = [0.2 * k for k in range(10)] + [1.8 + gap + 0.2 * k for k in range(5)]
    stepper = Brightness()
    before = stepper.resets
    frames = list(stream_frames(streaming(), stepper, Cut(times)))
    assert stepper.resets - before == 1 + resets  # one at the start
    assert (frames[10].probabilities.argmax() == 2) == bool(resets)
