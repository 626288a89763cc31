"""Events of sources from frames to events: resuming, later thresholds, live sources."""

import signal

import numpy as np
import pytest

from pipeline.artifacts import Decision
from pipeline.console import UserError
from pipeline.events.defaults import GAP, HIGH, LOW, SHORTEST, SMOOTH, Options, choose_settings
from pipeline.events.event import Event
from pipeline.events.reading import read_events
from pipeline.events.run import EventSearch, open_live_file
from pipeline.inference.live import Live
from pipeline.inference.sources import Video
from pipeline.video.container import BrokenVideo
from tests.inference.small import streaming, whole_clips, write_video

# 3 s dark, 4 s bright, 3 s dark, at 5 frames a second; grey in between would be a class of its own.
LEVELS = [10] * 15 + [245] * 20 + [10] * 15
PLAIN = Options(high=0.6, low=0.5, smooth=0, shortest=0, gap=0)


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def video(tmp_path):
    return Video("v.avi", write_video(tmp_path / "v.avi", LEVELS))


def counted(predictor):
    """Counts the windows that the network is run on."""
    compute = predictor._compute
    predictor.calls = 0

    def count(views):
        predictor.calls += 1
        return compute(views)

    predictor._compute = count
    return predictor


@pytest.mark.parametrize("predictor", [whole_clips(None), streaming()], ids=["whole clips", "stream"])
def test_events_of_a_video(video, predictor, capsys):
    found = EventSearch.of(predictor, PLAIN).find(video, timeline=True)
    assert [event.class_name for event in found.events] == ["Dark", "Bright", "Dark"]
    bright = found.events[1]
    early = 0.2 if predictor.causal else 0.0  # a quarter of the window at most; this network does not lag behind
    assert bright.start == pytest.approx(3.0 - early, abs=0.3) and bright.end == pytest.approx(7.0 - early, abs=0.3)
    assert bright.confidence > 0.9 and found.events[0].start == 0 and found.events[2].end == found.seconds == 10
    assert found.timeline.classes == ["Dark", "Bright"] and len(found.timeline.jpegs) == 10
    err = capsys.readouterr().err
    assert "events: --window 0.8 --stride 0.2 --high 0.6 --low 0.5 --smooth 0 --shortest 0 --gap 0 (as given)" in err
    assert "v.avi: 0:10.0 of video; 0:10.0 scored in" in err and "x real time" in err


def test_other_thresholds_need_no_network(video, capsys):
    first = counted(whole_clips(None))
    EventSearch.of(first, PLAIN).find(video)
    again = counted(whole_clips(None))
    found = EventSearch.of(again, PLAIN._replace(shortest=3.5)).find(video)
    assert [event.class_name for event in found.events] == ["Bright"]
    assert (first.calls, again.calls) == (48, 1)  # 47 windows, and the fixed input that identifies the network
    assert "v.avi: using the scores of an earlier run in .cache/events/" in capsys.readouterr().err
    other = counted(whole_clips(None))
    EventSearch.of(other, PLAIN, seconds=5.0).find(video)
    assert other.calls == 1 + 22


@pytest.mark.parametrize("after", [1, 20, 47])
def test_a_killed_run_resumes_with_the_same_events_and_bytes(video, tmp_path, monkeypatch, capsys, after):
    whole = EventSearch.of(whole_clips(None), PLAIN).find(video, timeline=True)
    folder = next(path for path in (tmp_path / ".cache/events").iterdir() if path.is_dir())
    expected = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()

    class Killed(BaseException):
        pass

    predictor = whole_clips(None)
    compute, calls = predictor._compute, []

    def die(views):
        calls.append(1)
        if len(calls) > 1 + after:
            raise Killed
        return compute(views)

    predictor._compute = die
    if after < 47:
        with pytest.raises(Killed):
            EventSearch.of(predictor, PLAIN).find(video)
    else:  # killed between the last score and the statement that the source is complete
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr("pipeline.events.store.ScoreStore.finish", lambda *given: (_ for _ in ()).throw(Killed))
            EventSearch.of(predictor, PLAIN).find(video)
    resumed = counted(whole_clips(None))
    found = EventSearch.of(resumed, PLAIN).find(video, timeline=True)
    assert found == whole and resumed.calls == 1 + 47 - after
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
    assert "v.avi: resuming after 0:" in capsys.readouterr().err


def test_a_source_that_cannot_be_read_is_an_error(tmp_path):
    search = EventSearch.of(whole_clips(None), PLAIN)
    with pytest.raises(BrokenVideo, match="no such file"):
        search.find(Video("x.avi", tmp_path / "x.avi"))
    (tmp_path / "x.avi").write_bytes(b"no video")
    with pytest.raises(BrokenVideo, match="FFmpeg cannot read it"):
        search.find(Video("x.avi", tmp_path / "x.avi"))


def decision(**values):
    given = {"threshold": 0.7, "by": "coverage", "level": 0.95, "coverage": 0.95, "precision": 1.0, "clip_seconds": 8.0}
    return Decision(**given | values)


def test_defaults_come_from_the_validation_clips():
    predictor = whole_clips(None)
    settings, line = choose_settings(predictor, 3.2, Options())
    assert (settings.high, settings.low) == (HIGH, pytest.approx(LOW * HIGH)) and "the model states no threshold" in line
    assert settings.smooth == pytest.approx(SMOOTH * 3.2) and settings.shortest == pytest.approx(SHORTEST * 3.2)
    predictor.decision = decision()
    settings, line = choose_settings(predictor, 3.2, Options(gap=0.5))
    assert settings.high == 0.7 and settings.gap == 0.5
    assert settings.shortest == pytest.approx(SHORTEST * 8.0) and GAP * 8.0 != 0.5
    assert "comes from its validation clips (threshold 0.7, 8.0 s long)" in line
    assert choose_settings(predictor, 3.2, Options(high=0.3))[0].low == pytest.approx(LOW * 0.3)
    with pytest.raises(UserError, match=r"--low 0\.8 and --high 0\.7: --low has to be above 0 and at most --high"):
        choose_settings(predictor, 3.2, Options(low=0.8))


def test_the_background_of_the_decision_never_is_an_event(video):
    predictor = whole_clips(None)
    predictor.decision = decision(background="Dark")
    assert [event.class_name for event in EventSearch.of(predictor, PLAIN).find(video).events] == ["Bright"]


class Camera:
    """A live source that notes when its frames are taken; it ends by Ctrl-C. jumps: seconds lost before a frame."""

    name, live = "camera:0", True

    def __init__(self, levels, jumps=None, end=KeyboardInterrupt):
        self.levels, self.jumps, self.end, self.taken = levels, jumps or {}, end, 0

    def frames(self, fps, size):
        now = 0.0
        for k, level in enumerate(self.levels):
            now += self.jumps.get(k, 0.0)
            self.taken = k + 1
            yield round(now * 1e6), np.full((size, size, 3), level, np.uint8)
            now += 1 / fps
        raise self.end


def test_a_live_source_tells_each_event_when_it_has_ended_and_the_open_one_at_the_interrupt():
    camera, told = Camera(LEVELS), []
    EventSearch.of(whole_clips(None), PLAIN).follow(camera, lambda event: told.append((event, camera.taken)))
    events = [event for event, _ in told]
    assert [event.class_name for event in events] == ["Dark", "Bright", "Dark"]
    assert events[1].start == pytest.approx(3.0, abs=0.3) and events[2].end == pytest.approx(10.0)
    assert [taken for _, taken in told] == [pytest.approx(18, abs=2), pytest.approx(38, abs=2), 50]


def test_frames_of_a_live_source_wait_while_the_network_runs_on_a_window(monkeypatch):
    backlogs = []
    monkeypatch.setattr(Live, "frames", lambda self, fps, size: backlogs.append(self.backlog) or iter(()))
    EventSearch.of(whole_clips(None), PLAIN, stride=0.6).follow(Live("camera:0", lambda timeout: None, ""), print)
    assert backlogs == [6]


def test_an_event_of_a_live_source_does_not_go_on_over_missing_frames():
    camera, told = Camera([245] * 20 + [245] * 20, jumps={20: 60.0}), []
    EventSearch.of(whole_clips(None), PLAIN).follow(camera, told.append)
    assert [(round(event.start, 1), round(event.end, 1)) for event in told] == [(0, 4), (64, 68)]


def test_an_event_of_a_live_source_goes_on_over_a_cut_shorter_than_a_window():
    camera, told = Camera([245] * 40, jumps={20: 0.5}), []
    EventSearch.of(whole_clips(None), PLAIN).follow(camera, told.append)
    assert [event.start for event in told] == [0] and told[0].end == pytest.approx(8.5, abs=0.11)


def test_events_before_a_live_source_was_lost_are_told():
    told = []
    with pytest.raises(UserError, match="lost"):
        EventSearch.of(whole_clips(None), PLAIN).follow(Camera([245] * 20, end=UserError("lost")), told.append)
    assert [event.class_name for event in told] == ["Bright"]


def test_an_interrupt_while_an_event_is_written_ends_regularly():
    told = []

    def emit(event):
        told.append(event)
        if len(told) == 1:
            raise KeyboardInterrupt

    EventSearch.of(whole_clips(None), PLAIN).follow(Camera(LEVELS), emit)
    assert [event.class_name for event in told] == ["Dark", "Bright"]  # the second was open


def test_an_interrupt_loses_none_of_several_events_that_end_at_once(heeds_ctrl_c):
    class Finder:
        def push(self, score):
            return ["a", "b"]

        def close(self, end):
            return ["c", "d"]

    class Scorer:
        end = 1.0

        def close(self):
            signal.raise_signal(signal.SIGINT)
            return ["score"]

    told = []

    def emit(event):
        if not told:
            signal.raise_signal(signal.SIGINT)
        told.append(event)

    with pytest.raises(KeyboardInterrupt):
        EventSearch._emit(["score"], Finder(), emit)
    assert told == ["a", "b"]
    with pytest.raises(KeyboardInterrupt):
        EventSearch.of(whole_clips(None), PLAIN)._end(Scorer(), Finder(), emit)
    assert told == ["a", "b", "a", "b", "c", "d"]


def test_a_file_at_an_address_is_not_kept(tmp_path, video, capsys):
    class Remote:
        name, live = "https://host/v.avi", False
        frames = staticmethod(video.frames)

    found = EventSearch.of(whole_clips(None), PLAIN).find(Remote(), timeline=True)
    assert len(found.events) == 3 and len(found.timeline.jpegs) == 10
    assert not (tmp_path / ".cache").exists() and "kept in" not in capsys.readouterr().err


def test_a_live_source_is_followed_in_bounded_memory():
    import weakref

    alive = weakref.WeakSet()
    most = 0

    class Image(np.ndarray):
        """An array that weak references can point to, and that is hashed by identity."""

        __hash__ = object.__hash__
        __eq__ = object.__eq__

    class Watched(Camera):
        def frames(self, fps, size):
            nonlocal most
            for timestamp, image in super().frames(fps, size):
                image = image.view(Image)
                alive.add(image)
                most = max(most, len(alive))
                yield timestamp, image

    EventSearch.of(whole_clips(None), PLAIN, window=2.0).follow(Watched(LEVELS * 4), lambda event: None)
    assert 10 <= most <= 14  # a window of 10 frames, and those being worked on


def test_events_are_appended_to_a_file(tmp_path):
    path = tmp_path / "new/events.csv"
    first, second = Event("camera:0", 1.0, 2.0, "A", 0.5), Event("camera:0", 3.0, 4.0, "B", 0.75)
    with open_live_file(path) as file:
        file.add(first)
        assert read_events(path) == [first]
    with open_live_file(path) as file:
        file.add(second)
    assert read_events(path) == [first, second]
    (tmp_path / "notes.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=r"notes\.csv: is not a file of events"), open_live_file(tmp_path / "notes.csv"):
        pass
    assert (tmp_path / "notes.csv").read_text() == "a,b\n"
    with pytest.raises(UserError, match=r"cannot be appended to \(Is a directory\)"), open_live_file(tmp_path):
        pass
