"""The whole stage on small synthesised clips: what it writes, what it leaves out, and that it goes on after a kill."""

import json
import os
import sys
import zipfile
from itertools import chain
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd
import pytest

from stages import extract
from stages.cluster import LOCAL
from stages.console import UserError
from stages.files import sha256
from stages.params import Frames
from stages.sources.manifest import read_manifest, write_manifest
from stages.video.decode import decode_clip
from stages.video.records import parse_clip, parse_clip_header, read_clips, shard_order


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Keeps the scratch folder in the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def settings(**changes) -> Frames:
    values = {"fps": 5.0, "size": 32, "count": 4, "quality": 95, "shards": 2, "on_error": "skip", "workers": 1}
    return Frames(**(values | changes))


def write_clip(path: Path, level: int, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 32))
    for frame in range(frames):
        writer.write(np.full((32, 48, 3), level + frame, np.uint8))
    writer.release()


def manifest_of(clips: Path, splits: dict[str, str]) -> pd.DataFrame:
    """A manifest of `splits` (clip: split), read back from a CSV as the stage does."""
    classes = sorted({clip.split("/")[0] for clip in splits})
    rows = [
        {
            "clip": clip,
            "class": clip.split("/")[0],
            "label": classes.index(clip.split("/")[0]),
            "group": clip.rpartition("_")[0].replace("/", "_"),
            "split": split,
            "source": clip,
            "bytes": (clips / clip).stat().st_size,
            "sha256": sha256(clips / clip),
        }
        for clip, split in sorted(splits.items())
    ]
    path = clips.parent / "manifest.csv"
    write_manifest(pd.DataFrame(rows), path)
    return read_manifest(path)


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two classes, 5 train clips, 2 validation and 3 test clips; the clip's brightness and length tell which it is."""
    folder = tmp_path / "clips"
    for index in range(10):
        write_clip(folder / "ab"[index % 2] / f"g{index // 4}_{index}.avi", 20 * index, 5 + index)
    return folder


@pytest.fixture
def manifest(clips) -> pd.DataFrame:
    splits = ["train"] * 5 + ["validation"] * 2 + ["test"] * 3
    return manifest_of(clips, {f"{'ab'[index % 2]}/g{index // 4}_{index}.avi": split for index, split in enumerate(splits)})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def break_clips(clips: Path, *names: str) -> None:
    for name in names:
        (clips / name).write_text("not a video")


def test_everything_arrives(tmp_path, clips, manifest):
    out = tmp_path / "data" / "frames"
    summary = extract.run(settings(), manifest, clips, out)
    assert summary == json.loads((out / "frames.json").read_text())
    assert summary["classes"] == ["a", "b"] and summary["skipped"] == []
    assert (summary["fps"], summary["size"], summary["quality"]) == (5.0, 32, 95)
    names = {split: [f"{split}-0000{index}-of-00002.tfrecord" for index in range(2)] for split in ("train", "validation", "test")}
    assert sorted(contents(out)) == sorted([*chain.from_iterable(names.values()), "frames.json"])
    for split, part in summary["splits"].items():
        rows = manifest[manifest["split"] == split].set_index("clip")
        records = [
            {key: value.numpy() for key, value in parse_clip(record).items()}
            for record in read_clips([out / name for name in part["files"]])
        ]
        assert part["files"] == names[split]
        assert [record["clip"].decode() for record in records] == shard_order(rows.index)
        counts = []
        for record in records:
            row = rows.loc[record["clip"].decode()]
            assert (record["label"], record["text"].decode(), record["group"].decode()) == (
                row["label"],
                row["class"],
                row["group"],
            )
            index = int(Path(row.name).stem.split("_")[1])
            assert record["frames"].shape == (-(-(5 + index) // 5), 32, 48, 3)
            assert record["timestamps"].tolist() == [200_000 * frame for frame in range(len(record["frames"]))]
            assert np.abs(record["frames"].astype(int) - decode_clip(clips / row.name, 5, 32).images).max() < 5
            assert (
                np.abs(record["frames"][:, 0, 0, 0] - [20 * index + 5 * frame for frame in range(len(record["frames"]))]).max()
                < 5
            )
            counts.append(len(record["frames"]))
        assert part["clips"] == len(rows) and part["frames"] == sum(counts)
        assert part["frames_per_clip"] == {"min": min(counts), "median": float(np.median(counts)), "max": max(counts)}
        assert part["groups"] == rows["group"].nunique()
        assert part["per_class"] == {name: int((rows["class"] == name).sum()) for name in "ab"}
        assert part["bytes"] == sum((out / name).stat().st_size for name in part["files"])
    assert [path.name for path in (tmp_path / ".cache" / "frames").iterdir() if path.is_dir()] == [], "scratch is removed"


def test_workers_do_not_change_a_byte(tmp_path, clips, manifest, monkeypatch):
    break_clips(clips, "a/g0_0.avi")
    monkeypatch.setattr(extract, "CLIPS_IN_FLIGHT", 2)  # several batches
    outs = [tmp_path / name for name in ("one", "again", "two")]
    for out, workers in zip(outs, (1, 1, 2), strict=True):
        extract.run(settings(workers=workers), manifest, clips, out)
    assert contents(outs[0]) == contents(outs[1]) == contents(outs[2])


def test_workers_do_not_import_tensorflow(clips, manifest):
    clip = extract.Clip("a/g0_0.avi", 0, "a", "g", 1)
    assert "tensorflow" in sys.modules
    list(extract.encode_clips([clip] * 8, settings(workers=2), clips))
    loaded = "[name in __import__('sys').modules for name in ('stages.video.decode', 'tensorflow')]"
    workers = joblib.Parallel(n_jobs=2)(joblib.delayed(eval)(loaded) for _ in range(8))  # joblib keeps its workers: the same ones
    assert [True, False] in workers, "at least one of them has decoded"
    assert not any(tensorflow for _, tensorflow in workers)


def test_batches_bound_what_is_in_memory(monkeypatch):
    monkeypatch.setattr(extract, "CLIPS_IN_FLIGHT", 3)
    monkeypatch.setattr(extract, "BYTES_IN_FLIGHT", 100)
    sizes = [1] * 13 + [60, 60, 500, 30, 30]
    clips = [extract.Clip(str(index), 0, "a", "g", size) for index, size in enumerate(sizes)]
    batches = list(extract._batches(clips, workers=2))
    assert [len(batch) for batch in batches] == [6, 6, 2, 1, 1, 2]
    assert list(chain.from_iterable(batches)) == clips


def test_fewer_clips_than_shards(tmp_path, clips, manifest):
    files = {
        name: part["files"] for name, part in extract.run(settings(shards=4), manifest, clips, tmp_path / "out")["splits"].items()
    }
    assert files["train"] == [f"train-0000{index}-of-00004.tfrecord" for index in range(4)]
    assert files["test"] == [f"test-0000{index}-of-00003.tfrecord" for index in range(3)]
    assert files["validation"] == [f"validation-0000{index}-of-00002.tfrecord" for index in range(2)]


def test_a_split_without_clips(tmp_path, clips):
    manifest = manifest_of(clips, {"a/g0_0.avi": "train", "b/g0_1.avi": "train"})
    part = extract.run(settings(), manifest, clips, tmp_path / "out")["splits"]["validation"]
    assert (part["clips"], part["files"], part["per_class"], part["frames_per_clip"]) == (0, [], {"a": 0, "b": 0}, None)


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_videos_are_left_out_and_named(tmp_path, clips, manifest, workers, capsys):
    break_clips(clips, "a/g0_0.avi", "b/g1_7.avi")
    out = tmp_path / "out"
    summary = extract.run(settings(workers=workers), manifest, clips, out)
    assert [(item["clip"], item["split"]) for item in summary["skipped"]] == [("a/g0_0.avi", "train"), ("b/g1_7.avi", "test")]
    assert all("FFmpeg cannot read it" in item["reason"] and str(clips) not in item["reason"] for item in summary["skipped"])
    assert (summary["splits"]["train"]["clips"], summary["splits"]["test"]["clips"]) == (4, 2)
    listing = capsys.readouterr().err
    assert "2 of 10 clips" in listing and "a/g0_0.avi (train): " in listing and "b/g1_7.avi (test): " in listing
    held = {parse_clip_header(record)["clip"].numpy().decode() for record in read_clips(sorted(out.glob("*.tfrecord")))}
    assert held == set(manifest["clip"]) - {"a/g0_0.avi", "b/g1_7.avi"}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.filterwarnings("error")
def test_on_error_fail_stops_and_names_it(tmp_path, clips, manifest, workers):
    break_clips(clips, "b/g1_7.avi")
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"clips/b/g1_7\.avi: FFmpeg cannot read it.*frames\.on_error: skip"):
        extract.run(settings(on_error="fail", workers=workers), manifest, clips, out)
    assert not out.exists()


def test_fail_after_a_killed_skip(tmp_path, clips, manifest, monkeypatch):
    """Shards that were finished while skipping was allowed do not hide what they skipped."""
    break_clips(clips, "a/g0_0.avi")
    with monkeypatch.context() as patch:
        patch.setattr(extract, "_summary", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract.run(settings(), manifest, clips, tmp_path / "out")
    with pytest.raises(UserError, match=r"clips/a/g0_0\.avi: FFmpeg cannot read it"):
        extract.run(settings(on_error="fail"), manifest, clips, tmp_path / "out")


def test_a_class_must_not_vanish_from_a_split(tmp_path, clips, manifest):
    break_clips(clips, "a/g1_6.avi", "b/g0_1.avi")
    with pytest.raises(
        UserError, match=r"^no validation clip of a can be decoded; first reason: b/g0_1.avi: FFmpeg cannot read it"
    ):
        extract.run(settings(), manifest, clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_decodes(tmp_path, clips, manifest):
    break_clips(clips, *manifest["clip"])
    with pytest.raises(UserError, match=r"^none of the 10 clips can be decoded; first reason"):
        extract.run(settings(), manifest, clips, tmp_path / "out")


def test_absent_clips_are_told_before_any_work(tmp_path, clips, manifest, monkeypatch):
    monkeypatch.setattr(extract, "encode_clip", lambda *a: pytest.fail("decoded"))
    (clips / "b/g1_7.avi").unlink()
    with pytest.raises(UserError, match=r"b/g1_7\.avi: not found \(absent clips: 1\)"):
        extract.run(settings(), manifest, clips, tmp_path / "out")


def test_a_killed_run_goes_on(tmp_path, clips, manifest, monkeypatch):
    """Killed at the 8th clip: shards of 3, 2, 1 and 1 clips are finished, so 3 of 10 are left to do."""
    expected = tmp_path / "expected"
    extract.run(settings(), manifest, clips, expected)
    decoded = []
    encode_clip = extract.encode_clip

    def dying(path, *arguments):
        if len(decoded) == 7:
            raise KeyboardInterrupt
        decoded.append(path)
        return encode_clip(path, *arguments)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(extract, "encode_clip", dying)
        with pytest.raises(KeyboardInterrupt):
            extract.run(settings(), manifest, clips, out)
    assert not out.exists() and len(decoded) == 7
    decoded.clear()
    monkeypatch.setattr(extract, "encode_clip", lambda path, *rest: decoded.append(path) or encode_clip(path, *rest))
    extract.run(settings(), manifest, clips, out)
    assert len(decoded) == 3
    assert contents(out) == contents(expected)
    assert list((tmp_path / ".cache" / "frames").glob("*/*")) == []


def test_other_settings_or_clips_do_not_take_over_old_shards(tmp_path, clips, manifest, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(extract, "_summary", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract.run(settings(), manifest, clips, tmp_path / "out")
    decoded = []
    encode_clip = extract.encode_clip
    monkeypatch.setattr(extract, "encode_clip", lambda path, *rest: decoded.append(path) or encode_clip(path, *rest))
    extract.run(settings(quality=90), manifest, clips, tmp_path / "out")
    assert len(decoded) == 10
    decoded.clear()
    changed = manifest.copy()
    changed.loc[0, "sha256"] = "0" * 64
    extract.run(settings(), changed, clips, tmp_path / "out")
    assert len(decoded) == 10
    decoded.clear()
    extract.run(settings(count=9, workers=1), manifest, clips, tmp_path / "out")
    assert decoded == [], "what does not change the records does not decode again"


def test_another_joblib_backend_can_be_chosen(clips, manifest, monkeypatch):
    monkeypatch.setattr(extract, "encode_clip", lambda path, *rest: (os.getpid(), path.name))
    chosen = [extract.Clip(clip, 0, "a", "g", 1) for clip in manifest["clip"]]
    with joblib.parallel_config(backend="threading"):
        done = list(extract.encode_clips(chosen, settings(workers=2), clips))
    assert done == [(os.getpid(), Path(clip).name) for clip in manifest["clip"]]
    assert os.getpid() not in {pid for pid, _ in extract.encode_clips(chosen, settings(workers=2), clips)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX signal")
def test_a_killed_worker_is_one_clear_line(tmp_path, clips, manifest, monkeypatch):
    monkeypatch.setattr(extract, "encode_clip", lambda *arguments: os._exit(1))
    with pytest.raises(UserError, match=r"a decoding process was killed .* between a/1 and a/4"):
        list(extract.encode_clips([extract.Clip(f"a/{i}", 0, "a", "g", 1) for i in range(1, 5)], settings(workers=2), clips))


def test_the_command_takes_over_params_and_paths(tmp_path, clips, manifest, monkeypatch):
    (tmp_path / "data").mkdir()
    clips.rename(tmp_path / "data" / "clips")
    write_manifest(manifest, tmp_path / "data" / "manifest.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extract, "load_params", lambda: type("Params", (), {"frames": settings(shards=1), "cluster": LOCAL}))
    monkeypatch.setattr(sys, "argv", ["extract"])
    extract.main()
    assert sorted(path.name for path in Path("data/frames").iterdir()) == [
        "frames.json",
        "test-00000-of-00001.tfrecord",
        "train-00000-of-00001.tfrecord",
        "validation-00000-of-00001.tfrecord",
    ]


@pytest.mark.real
@pytest.mark.skipif("MOVINET_REAL_DATA" not in os.environ, reason="MOVINET_REAL_DATA names no folder of real clips")
def test_real_clips(tmp_path):
    clips = tmp_path / "clips"
    splits = {}
    with zipfile.ZipFile(Path(os.environ["MOVINET_REAL_DATA"]) / "UCF101_videos.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".avi"))
        for index, name in enumerate([*names[:5], *names[-5:]]):
            category = name.split("_")[1]
            clip = f"{category}/{Path(name).name}"
            (clips / category).mkdir(parents=True, exist_ok=True)
            (clips / clip).write_bytes(archive.read(name))
            splits[clip] = ("train", "train", "validation", "test", "test")[index % 5]
    manifest = manifest_of(clips, splits)
    summary = extract.run(settings(size=172, workers=2), manifest, clips, tmp_path / "out")
    assert summary["skipped"] == []
    seen = 0
    for record in read_clips(sorted((tmp_path / "out").glob("*.tfrecord"))):
        clip = parse_clip(record)
        capture = cv2.VideoCapture(str(clips / clip["clip"].numpy().decode()))
        frames = 0
        while capture.grab():
            frames += 1
        rate = capture.get(cv2.CAP_PROP_FPS)
        assert abs(clip["frames"].shape[0] - frames / rate * 5) < 1
        assert clip["frames"].shape[1:] == (172, 229, 3)
        assert clip["frames"].numpy().std() > 10
        seen += 1
    assert seen == 10
