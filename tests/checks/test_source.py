from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.checks.source import USUAL_SECONDS, check_flip, check_source
from pipeline.settings import Background, Data
from tests.range_server import RangeServer
from tests.sources.clips import archive, data, speed, split, ucf_members

CONTENT = archive(ucf_members())


@pytest.fixture
def server():
    with RangeServer({"a.zip": CONTENT}, stall=3.0) as running:
        yield running


def check(source: Data, needed: bool = True, timeout: float = 2.0, image_rate: float | None = None):
    return check_source(source, 1, speed(timeout=timeout), needed, image_rate)


def remote(server: RangeServer, **changes) -> Data:
    Path("stages").mkdir(exist_ok=True)
    return data(archive=server.url("a.zip"), watch="stages", **changes)


def test_a_remote_archive_is_asked_for_its_index_alone(server):
    (found, layout, left_out), planned = check(remote(server, num_classes=2))
    assert found.status == layout.status == left_out.status == "ok"
    assert layout.message.startswith("layout v_<Class>_gNN_cNN (UCF-101's names) below UCF101; 3 classes (ApplyEyeMakeup,")
    assert left_out.message == "left out: 1 file that is not a video (UCF101/readme.txt)"
    assert "answers byte ranges: 2 classes, 56 train, 16 validation, 28 test clips, 0.3 MB" in found.message
    assert planned.clips == {"train": 56, "validation": 16, "test": 28} and planned.classes == ["ApplyEyeMakeup", "ApplyLipstick"]
    assert planned.bytes == 100 * 3000 and planned.seconds == USUAL_SECONDS
    assert server.bytes < len(CONTENT) / 10 and server.requests <= 3


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("denied", "access denied"),
        ("busy", "busy"),
        ("missing", "not found"),
        ("reset", "connection broke"),
        ("stall", "no byte"),
    ],
)
def test_a_failing_server_is_a_problem_after_one_try(server, kind, message):
    server.misbehave(kind, times=5)
    (found,), planned = check(remote(server), timeout=0.5)
    assert found.status == "problem" and message in found.message and planned is None
    assert server.requests <= 2


def test_a_server_without_ranges_is_a_problem(server):
    server.accept_ranges = False
    (found,), _ = check(remote(server))
    assert found.status == "problem" and "does not support range requests" in found.message
    assert found.advice.startswith("fetch the archive whole")


def test_an_unreachable_archive_is_a_warning_where_the_clips_are_here(server):
    server.files.clear()
    (found,), _ = check(remote(server), needed=False)
    assert found.status == "warning" and "not needed now: the clips are here" in found.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 9}, "there are only 3 classes"),
        ({"classes": ["Archrey", "ApplyLipstick"]}, "did you mean Archery"),
        ({"split": split(scheme="given")}, "there is neither"),
        ({"flip": {"Archery": "Bowling"}}, "data.flip names Bowling"),
    ],
)
def test_errors_of_download_or_a_later_stage_are_problems(server, changes, message):
    results, _ = check(remote(server, **changes))
    assert any(found.status == "problem" and message in f"{found.message}; {found.advice}" for found in results)


def test_a_local_archive_that_is_absent_or_broken_is_a_problem():
    (found,), _ = check(data(archive="none.zip"))
    assert found.status == "problem" and "none.zip: not found" in found.message
    Path("cut.zip").write_bytes(CONTENT[:-100])
    (found,), _ = check(data(archive="cut.zip"))
    assert found.status == "problem" and "not a whole zip" in found.message


def video(path: Path, seconds: int = 2, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 32))
    for _ in range(5 * seconds):
        writer.write(np.full((32, 64, 3), grey, np.uint8))
    writer.release()


def test_a_folder_is_walked_and_its_videos_measured(tmp_path):
    for grey, category in enumerate(("jump", "run")):
        for number in range(6):
            video(tmp_path / "videos" / category / f"{number}.avi", grey=100 * grey + 10 * number)
    source = data(folder=str(tmp_path / "videos"), watch=str(tmp_path / "videos"), split=split(scheme="auto"))
    (found, layout, scheme, later), planned = check(source)
    assert later.message.startswith("near-duplicates are looked for by download")
    not_merged = data(folder=source.folder, watch=source.watch, split=split(scheme="auto", duplicates="warn"))
    assert len(check(not_merged)[0]) == 3
    assert layout.message == "layout <class>/<video>; 2 classes (jump, run), 12 videos" and "whole groups" in scheme.message
    assert found.status == "ok" and "2 classes, 6 train, 2 validation, 4 test clips" in found.message
    assert planned.seconds == 2.0


def test_a_local_archive_is_measured_too(tmp_path):
    video(Path("one.avi"), seconds=3)
    clip = Path("one.avi").read_bytes()
    Path("a.zip").write_bytes(archive({f"v_{name}_g{group:02d}_c01.avi": clip for name in "AB" for group in range(1, 26)}))
    _, planned = check(data(archive="a.zip"))
    assert planned.seconds == 3.0


def test_clips_that_cannot_be_decoded_are_named(tmp_path):
    for category in ("jump", "run"):
        for number in range(3):
            video(tmp_path / "v" / category / f"{number}.avi", grey=10 * number + len(category))
    cut = tmp_path / "v/jump/1.avi"
    cut.write_bytes(cut.read_bytes()[:100])
    results, _ = check(data(folder=str(tmp_path / "v"), watch=str(tmp_path / "v"), split=split(scheme="auto")))
    found = results[-1]
    assert found.status == "warning" and "1 of the 5 clips that were opened cannot be decoded: jump/1.avi: " in found.message
    assert "frames.on_error" in found.advice


def test_folders_of_images_need_a_rate(tmp_path):
    for category in ("jump", "run"):
        for clip in range(4):
            for number in range(10):
                path = tmp_path / "v" / category / str(clip) / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((32, 64, 3), number * clip, np.uint8))
    source = data(folder=str(tmp_path / "v"), watch=str(tmp_path / "v"), split=split(scheme="random"))
    results, planned = check(source, image_rate=5.0)
    assert {found.status for found in results} <= {"ok", "warning"} and planned.seconds == 2.0
    results, _ = check(source)
    (found,) = [found for found in results if found.status == "problem"]
    assert found.advice.endswith("e.g. frames.image_rate=25")


def test_a_listing_that_dvc_does_not_watch(tmp_path):
    for number in range(10):
        video(tmp_path / "v" / "ab"[number % 2] / f"{number}.avi", grey=number)
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{'ab'[n % 2]}/{n}.avi,{'ab'[n % 2]}\n" for n in range(10)))
    folder = str(tmp_path / "v")
    results, _ = check(data(folder=folder, listing=str(tmp_path / "list.csv"), watch=folder, split=split(scheme="auto")))
    assert results[-1].status == "warning" and "lies outside data.watch" in results[-1].message


def test_a_broken_link_in_a_watched_folder_stops_dvc(tmp_path):
    for number in range(10):
        video(tmp_path / "v" / "ab"[number % 2] / f"{number}.avi", grey=number)
    (tmp_path / "v/a/gone.avi").symlink_to("nowhere.avi")
    results, _ = check(data(folder=str(tmp_path / "v"), watch=str(tmp_path / "v"), split=split(scheme="auto")))
    (found,) = [found for found in results if found.status == "problem"]
    assert f"holds 1 broken link ({tmp_path}/v/a/gone.avi), at which DVC stops before download" in found.message


def test_a_watched_path_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for number in range(10):
        video(tmp_path / "v" / "ab"[number % 2] / f"{number}.avi", grey=number)
    results, _ = check(data(folder="~/v", watch="~/v", split=split(scheme="auto")))
    (found,) = [found for found in results if found.status == "problem"]
    assert "DVC does not expand ~" in found.message and found.advice == f"give data.folder or data.archive as {tmp_path / 'v'}"


def test_an_empty_folder_is_a_problem(tmp_path):
    (tmp_path / "videos").mkdir()
    (found,), _ = check(data(folder=str(tmp_path / "videos")))
    assert found.status == "problem" and "no videos" in found.message


def test_paths_that_dvc_would_not_see_are_named():
    Path("a.zip").write_bytes(CONTENT)
    Path("b.zip").write_bytes(CONTENT)
    messages = {found.message: found.status for found in check(data(archive="a.zip", watch="a.zip"))[0]}
    messages = {message: status for message, status in messages.items() if "cannot be decoded" not in message}  # they are noise
    assert messages.pop("data.archive = a.zip is relative and not in git, so --temp and --queue runs do not find it") == "warning"
    assert set(messages.values()) == {"ok"}
    absolute = str(Path("a.zip").resolve())
    *_, found = check(data(archive=absolute, watch="b.zip"))[0]
    assert found.status == "warning" and "so DVC does not see when that changes" in found.message
    *_, found = check(data(archive=absolute, watch="c.zip"))[0]
    assert found.status == "problem" and "does not run `download` without it" in found.message


def test_a_mirror_goes_both_ways():
    assert check_flip(data(archive="a.zip", flip={"a": "b", "b": "a", "c": "c"}), ["a", "b", "c"]) == []
    (found,) = check_flip(data(archive="a.zip", flip={"a": "b"}), ["a", "b"])
    assert found.status == "warning" and "a becomes b in a mirror, but not the other way round" in found.message


def test_segments_count_by_their_own_length_and_recordings_once(tmp_path):
    """Of each recording of 20 s: 3 + 2 s of segments, with 1 + 5 s before and between them, and 1 s of background in these 6."""
    rows = ["path,label,start,end,split"]
    for part in ("train", "validation", "test"):
        video(tmp_path / f"v/{part}.avi", seconds=20, grey=len(part))
        rows += [f"{part}.avi,jump,1,4,{part}", f"{part}.avi,run,9,11,{part}"]
    (tmp_path / "v/list.csv").write_text("\n".join([*rows, ""]))
    background = Background(label="none", seconds=1.0, per_class=3)
    options = {"folder": str(tmp_path / "v"), "listing": str(tmp_path / "v/list.csv"), "watch": str(tmp_path / "v")}
    (found, layout, *_), planned = check(data(**options, split=split(scheme="auto")))
    assert found.message.endswith(f"2 classes, 2 train, 2 validation, 2 test clips, {planned.bytes / 1e6:.1f} MB")
    assert layout.message.endswith("6 segments") and planned.bytes == sum(
        path.stat().st_size for path in tmp_path.glob("v/*.avi")
    )
    assert planned.seconds == 2.5 and planned.between == 18.0 and planned.decoded == 33.0
    _, more = check(data(**options, split=split(scheme="auto"), background=background))
    assert more.classes == ["jump", "none", "run"] and more.total == 9 and more.seconds == 2.0
