"""The extract stage on small synthesised clips: what it writes, whichever process decodes."""

import json
import os
import subprocess
import sys
import zipfile
from itertools import chain
from pathlib import Path

import cv2
import joblib
import numpy as np
import pytest

from pipeline.artifacts import FrameCounts
from pipeline.cluster import LOCAL
from pipeline.extraction import decoding
from pipeline.params import Params
from pipeline.sources.manifest import write_manifest
from pipeline.video.decode import decode_clip
from pipeline.video.parsing import parse_clip, read_clips
from pipeline.video.records import shard_order
from stages import extract
from tests.extracting import break_clips, clips, contents, extract_clips, manifest, manifest_of, root, settings, whole  # noqa: F401
from tests.sources.clips import speed


def test_everything_arrives(tmp_path, clips, manifest):
    out = tmp_path / "data" / "frames"
    summary = extract_clips(manifest, clips, out)
    assert summary.model_dump() == json.loads((out / "frames.json").read_text())
    assert summary.classes == ["a", "b"] and summary.skipped == []
    assert (summary.fps, summary.size, summary.quality) == (5.0, 32, 95)
    names = {split: [f"{split}-0000{index}-of-00002.tfrecord" for index in range(2)] for split in ("train", "validation", "test")}
    assert sorted(contents(out)) == sorted([*chain.from_iterable(names.values()), "frames.json"])
    for split, part in summary.splits.items():
        rows = manifest[manifest["split"] == split].set_index("clip")
        records = [
            {key: value.numpy() for key, value in parse_clip(record).items()} for record in read_clips(summary.files(out, split))
        ]
        assert part.files == names[split]
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
        assert part.clips == len(rows) and part.frames == sum(counts)
        assert part.frames_per_clip == FrameCounts(min=min(counts), median=float(np.median(counts)), max=max(counts))
        assert part.groups == rows["group"].nunique()
        assert part.per_class == {name: int((rows["class"] == name).sum()) for name in "ab"}
        assert part.bytes == sum((out / name).stat().st_size for name in part.files)
    assert [path.name for path in (tmp_path / ".cache" / "frames").iterdir() if path.is_dir()] == [], "scratch is removed"


def test_workers_do_not_change_a_byte(tmp_path, clips, manifest, monkeypatch):
    break_clips(clips, "a/g0_0.avi")
    monkeypatch.setattr(decoding, "CLIPS_IN_FLIGHT", 2)  # several batches
    outs = [tmp_path / name for name in ("one", "again", "two")]
    for out, workers in zip(outs, (1, 1, 2), strict=True):
        extract_clips(manifest, clips, out, workers=workers)
    assert contents(outs[0]) == contents(outs[1]) == contents(outs[2])


def test_workers_do_not_import_tensorflow(clips, manifest):
    clip = whole("a/g0_0.avi")
    assert "tensorflow" in sys.modules
    list(decoding.encode_clips([clip] * 8, settings(), clips, workers=2))
    loaded = "[name in __import__('sys').modules for name in ('pipeline.video.decode', 'tensorflow')]"
    workers = joblib.Parallel(n_jobs=2)(joblib.delayed(eval)(loaded) for _ in range(8))  # joblib reuses its workers
    assert [True, False] in workers, "at least one of them has decoded"
    assert not any(tensorflow for _, tensorflow in workers)


def test_batches_bound_what_is_in_memory(monkeypatch):
    monkeypatch.setattr(decoding, "CLIPS_IN_FLIGHT", 3)
    monkeypatch.setattr(decoding, "BYTES_IN_FLIGHT", 100)
    sizes = [1] * 13 + [60, 60, 500, 30, 30]
    clips = [whole(str(index), size) for index, size in enumerate(sizes)]
    batches = list(decoding._batches(clips, workers=2))
    assert [len(batch) for batch in batches] == [6, 6, 2, 1, 1, 2]
    assert list(chain.from_iterable(batches)) == clips


def test_fewer_clips_than_shards(tmp_path, clips, manifest):
    splits = extract_clips(manifest, clips, tmp_path / "out", shards=4).splits
    files = {name: part.files for name, part in splits.items()}
    assert files["train"] == [f"train-0000{index}-of-00004.tfrecord" for index in range(4)]
    assert files["test"] == [f"test-0000{index}-of-00003.tfrecord" for index in range(3)]
    assert files["validation"] == [f"validation-0000{index}-of-00002.tfrecord" for index in range(2)]


def test_a_split_without_clips(tmp_path, clips):
    manifest = manifest_of(clips, {"a/g0_0.avi": "train", "b/g0_1.avi": "train"})
    part = extract_clips(manifest, clips, tmp_path / "out").splits["validation"]
    assert (part.clips, part.files, part.per_class, part.frames_per_clip) == (0, [], {"a": 0, "b": 0}, None)


def test_another_joblib_backend_can_be_chosen(clips, manifest, monkeypatch):
    monkeypatch.setattr(decoding, "encode_any", lambda path, *rest: (os.getpid(), path.name))
    chosen = [whole(clip) for clip in manifest["clip"]]
    with joblib.parallel_config(backend="threading"):
        done = list(decoding.encode_clips(chosen, settings(), clips, workers=2))
    assert done == [(os.getpid(), Path(clip).name) for clip in manifest["clip"]]
    assert os.getpid() not in {pid for pid, _ in decoding.encode_clips(chosen, settings(), clips, workers=2)}


def test_the_command_uses_params_and_default_paths(tmp_path, clips, manifest, monkeypatch):
    (tmp_path / "data").mkdir()
    clips.rename(tmp_path / "data" / "clips")
    write_manifest(manifest, tmp_path / "data" / "manifest.csv")
    monkeypatch.chdir(tmp_path)
    params = Params.model_construct(frames=settings(shards=1), speed=speed(), cluster=LOCAL)
    monkeypatch.setattr(extract, "load_params", lambda: params)
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
    summary = extract_clips(manifest, clips, tmp_path / "out", workers=2, size=172)
    assert summary.skipped == []
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


def test_the_stage_does_not_import_tensorflow():
    code = "import sys, stages.extract; print([name for name in ('tensorflow', 'mlflow', 'sklearn') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
