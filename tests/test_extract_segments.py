"""The extract stage on segments of recordings: decoded once, resumed, with damage where it lies, whichever process decodes."""

import os
import random
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.console import UserError
from pipeline.extraction import recordings
from pipeline.extraction.recordings import read_segment, write_segment
from pipeline.files import sha256
from pipeline.settings import Cluster
from pipeline.sources.manifest import read_manifest, write_manifest
from pipeline.video.decode import BrokenVideo, Damage, EncodedClip
from pipeline.video.encoding import encode_clip
from pipeline.video.parsing import parse_clip_header, read_clips
from stages import extract
from tests.dask_cluster import dask_cluster
from tests.extracting import contents, root, settings, write_clip  # noqa: F401
from tests.video.videos import overwrite, packets, write_av, write_video

RECORDINGS = {"long.avi": ("train", "validation"), "day/b.avi": ("train", "test")}  # parts of each, by turns: 10 s at 25 a second


def rows(clips: Path) -> list[dict]:
    """Ten segments of two recordings, two classes, and a whole file for each split."""
    found = []
    for source, splits in RECORDINGS.items():
        for number in range(10):
            label, start = "ab"[number % 2], 0.9 * number + 0.2 * (number % 3)
            clip = f"{label}/{Path(source).stem}@{start:09.3f}.avi"
            segment = {"file": f".recordings/{source}", "start": repr(start), "end": repr(start + 0.8)}
            found.append(
                {"clip": clip, **segment, "split": splits[number // 2 % 2], "source": source, "label": "ab".index(label)}
            )
    for number, split in enumerate(("train", "validation", "test")):
        for label in "ab":
            clip = f"{label}/whole{number}.avi"
            write_clip(clips / clip, 30 * number, 9)
            whole = {"file": clip, "start": "", "end": ""}
            found.append({"clip": clip, **whole, "split": split, "source": clip, "label": "ab".index(label)})
    return found


@pytest.fixture
def clips(tmp_path) -> Path:
    folder = tmp_path / "clips"
    for source in RECORDINGS:
        path = folder / ".recordings" / source
        path.parent.mkdir(parents=True, exist_ok=True)
        write_av(folder / "a.mp4", 250, options={"g": "10", "bf": "0"}).rename(path)
    return folder


def manifest_of(clips: Path) -> pd.DataFrame:
    complete = []
    for row in rows(clips):
        path = clips / row["file"]
        complete.append(
            {
                **{name: row[name] for name in ("clip", "file", "start", "end")},
                "class": "ab"[row["label"]],
                "label": row["label"],
                "group": row["source"],
                "split": row["split"],
                "source": row["source"],
                "duplicate_of": "",
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
            }
        )
    path = clips.parent / "manifest.csv"
    write_manifest(pd.DataFrame(complete).sort_values("clip"), path)
    return read_manifest(path)


def records(folder: Path) -> dict[str, dict]:
    found = {}
    for record in read_clips(sorted(folder.glob("*.tfrecord"))):
        clip = {key: value.numpy() for key, value in parse_clip_header(record).items()}
        found[clip["clip"].decode()] = clip
    return found


def run(manifest, clips, out, workers=1, **changes):
    return extract.run(settings(fps=10.0, **changes), manifest, clips, out, workers)


def test_segments_have_the_frames_of_their_recording(tmp_path, clips):
    manifest = manifest_of(clips)
    summary = run(manifest, clips, tmp_path / "out")
    found = records(tmp_path / "out")
    assert sorted(found) == list(manifest["clip"]) and summary.skipped == summary.damaged == []
    for row in manifest.itertuples():
        whole = encode_clip(clips / row.file, 10.0, 32, 95)
        first = round(10 * float(row.start)) if row.start else 0
        expected = whole.jpegs[first : first + 8] if row.start else whole.jpegs
        assert found[row.clip]["encoded"].tolist() == expected
        assert found[row.clip]["timestamps"].tolist() == [100_000 * number for number in range(len(expected))]
    assert not list((tmp_path / ".cache/frames").glob("*/*"))


def test_workers_do_not_change_a_byte(tmp_path, clips):
    manifest = manifest_of(clips)
    run(manifest, clips, tmp_path / "one")
    run(manifest, clips, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes(tmp_path, clips, monkeypatch):
    manifest = manifest_of(clips)
    run(manifest, clips, tmp_path / "one")
    with dask_cluster(Path(__file__).parent.parent) as address:
        cluster = Cluster(engine="dask", address=address, workers=None)
        extract.run(settings(fps=10.0), manifest, clips, tmp_path / "two", cluster=cluster)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_each_recording_is_decoded_once(tmp_path, clips, monkeypatch):
    opened = []
    encode = recordings.encode_segments
    monkeypatch.setattr(recordings, "encode_segments", lambda path, *rest: opened.append(path.name) or encode(path, *rest))
    run(manifest_of(clips), clips, tmp_path / "out")
    assert sorted(opened) == ["b.avi", "long.avi"]


def test_a_killed_run_keeps_finished_segments(tmp_path, clips, monkeypatch):
    manifest = manifest_of(clips)
    run(manifest, clips, tmp_path / "expected")
    encode, asked = recordings.encode_segments, []

    def dying(path, segments, *rest):
        for number, found in enumerate(encode(path, segments, *rest)):
            if number == 4:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(recordings, "encode_segments", dying)
        with pytest.raises(KeyboardInterrupt):
            run(manifest, clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / ".cache/frames").glob("*/segments/*.npz"))) == 4
    monkeypatch.setattr(
        recordings, "encode_segments", lambda path, parts, *rest: asked.append(len(parts)) or encode(path, parts, *rest)
    )
    run(manifest, clips, tmp_path / "out")
    assert sorted(asked) == [6, 10]
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")


def damage_packets(clips: Path, *numbers: int) -> None:
    path = clips / ".recordings/long.avi"
    found = packets(path)
    for number in numbers:
        offset, size = found[number]
        overwrite(path, offset, random.Random(1).randbytes(size))


def test_damage_is_that_of_its_segment(tmp_path, clips):
    damage_packets(clips, 35)  # 1.4 s
    manifest = manifest_of(clips)
    kept = run(manifest, clips, tmp_path / "kept")
    assert [(one.clip, one.complaint) for one in kept.damaged] == [
        ("b/long@00001.100.avi", "decoded 20 of 21 frames: damaged data at 0.3 s")
    ]
    left = run(manifest, clips, tmp_path / "left", on_error="skip")
    assert [one.clip for one in left.skipped] == ["b/long@00001.100.avi"] and left.damaged == []
    message = (
        r"clips/\.recordings/long\.avi, 1\.100-1\.900 s: decoded 20 of 21 frames.*; replace the file, or set frames\.on_error"
    )
    for workers in (1, 2):
        with pytest.raises(UserError, match=message):
            run(manifest, clips, tmp_path / "none", workers=workers, on_error="fail")
    assert not (tmp_path / "none").exists()


def test_segments_after_a_break_are_skipped_with_the_reason(tmp_path, clips):
    path = clips / ".recordings/long.avi"
    write_video(clips / "a.avi", 25, 250).replace(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    summary = run(manifest_of(clips), clips, tmp_path / "out")
    reasons = {one.clip: one.reason for one in summary.skipped}
    assert sorted(reasons) == [
        "a/long@00005.400.avi",
        "a/long@00007.600.avi",
        "b/long@00004.900.avi",
        "b/long@00006.500.avi",
        "b/long@00008.100.avi",
    ]
    assert reasons["b/long@00004.900.avi"] == "truncated: 1 of the 20 frames that it should hold can be decoded"
    assert reasons["a/long@00007.600.avi"].startswith(
        "no frame: it starts at 7.6 s, and the recording can be decoded until 4.9 s"
    )
    assert "a/long@00000.000.avi" in records(tmp_path / "out")


def test_a_recording_that_is_no_video(tmp_path, clips):
    (clips / ".recordings/long.avi").write_text("not a video")
    with pytest.raises(UserError, match=r"no \w+ clip of|none of"):
        manifest = manifest_of(clips)
        manifest = manifest[~manifest["clip"].str.contains("whole")].reset_index(drop=True)
        run(manifest, clips, tmp_path / "out")
    summary = run(manifest_of(clips), clips, tmp_path / "out")
    assert len(summary.skipped) == 10 and all("FFmpeg cannot read it" in one.reason for one in summary.skipped)


def test_an_absent_recording_is_named(tmp_path, clips):
    manifest = manifest_of(clips)
    (clips / ".recordings/long.avi").unlink()
    with pytest.raises(UserError, match=r"\.recordings/long\.avi: not found \(absent files: 1\)"):
        run(manifest, clips, tmp_path / "out")


def test_segment_files(tmp_path):
    whole = EncodedClip([b"abc", b"", b"d" * 300], [0, 1, 2_000_000_000_000])
    for result in (whole, whole._replace(damage=Damage(3, 5, 1, 0.25)), whole._replace(damage=Damage(3, 5, 1, None))):
        write_segment(tmp_path / "a/b.npz", result)
        assert read_segment(tmp_path / "a/b.npz", Path("x")) == result
    write_segment(tmp_path / "c.npz", BrokenVideo("x", "is cut; é", advice="repair it"))
    again = read_segment(tmp_path / "c.npz", Path("x"))
    assert isinstance(again, BrokenVideo) and again.reason == "is cut; é; repair it" and again.path == Path("x")
    np.savez(tmp_path / "d.npz", reason=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_segment(tmp_path / "d.npz", Path("x"))


class Bar:
    def __init__(self):
        self.steps = []

    def update(self, number=1):
        self.steps.append(number)


def test_the_bar_advances_while_a_recording_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "POLL_SECONDS", 0.001)
    files, bar = [tmp_path / f"{number}.npz" for number in range(4)], Bar()
    with recordings._counted(files, bar):
        for number, file in enumerate(files[:3], start=1):
            file.touch()
            while sum(bar.steps) < number:
                threading.Event().wait(0.001)
        files[3].touch()
        (tmp_path / "other.npz").touch()
    assert sum(bar.steps) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX signal")
def test_a_killed_worker_is_one_error_line(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(recordings, "decode_recording", _die)
    with pytest.raises(UserError, match=r"a decoding process was killed .* in one of \.recordings/.*finished segments are kept"):
        run(manifest_of(clips), clips, tmp_path / "out", workers=2)


def _die(*arguments):
    os._exit(1)
