"""The extract stage when something goes wrong: broken and absent clips, and runs that are killed and resumed."""

import os
import random

import cv2
import pytest

from pipeline.artifacts import SkippedClip
from pipeline.console import UserError
from pipeline.extraction import decoding
from pipeline.files import read_json
from pipeline.video.parsing import parse_clip, parse_clip_header, read_clips
from tests.extracting import break_clips, clips, contents, extract_clips, manifest, root, settings, whole  # noqa: F401
from tests.video.videos import overwrite, packets, picture, shown, write_av


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_videos_are_skipped_and_named(tmp_path, clips, manifest, workers, capsys):
    break_clips(clips, "a/g0_0.avi", "b/g1_7.avi")
    out = tmp_path / "out"
    summary = extract_clips(manifest, clips, out, workers=workers)
    assert [(item.clip, item.split) for item in summary.skipped] == [("a/g0_0.avi", "train"), ("b/g1_7.avi", "test")]
    assert all("FFmpeg cannot read it" in item.reason and str(clips) not in item.reason for item in summary.skipped)
    assert (summary.splits["train"].clips, summary.splits["test"].clips) == (4, 2)
    listing = capsys.readouterr().err
    assert "2 of 10 clips" in listing and "a/g0_0.avi (train): " in listing and "b/g1_7.avi (test): " in listing
    held = {parse_clip_header(record)["clip"].numpy().decode() for record in read_clips(sorted(out.glob("*.tfrecord")))}
    assert held == set(manifest["clip"]) - {"a/g0_0.avi", "b/g1_7.avi"}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.filterwarnings("error")
def test_on_error_fail_stops_and_names_it(tmp_path, clips, manifest, workers):
    break_clips(clips, "b/g1_7.avi")
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match=r"clips/b/g1_7\.avi: FFmpeg cannot read it.*; replace the file, or set frames\.on_error to keep or skip"
    ):
        extract_clips(manifest, clips, out, workers=workers, on_error="fail")
    assert not out.exists()


def test_fail_after_a_killed_skip(tmp_path, clips, manifest, monkeypatch):
    """Shards that were finished while skipping was allowed do not hide what they skipped."""
    break_clips(clips, "a/g0_0.avi")
    with monkeypatch.context() as patch:
        patch.setattr("stages.extract.summarise", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract_clips(manifest, clips, tmp_path / "out")
    with pytest.raises(UserError, match=r"clips/a/g0_0\.avi: FFmpeg cannot read it"):
        extract_clips(manifest, clips, tmp_path / "out", on_error="fail")


def damage_clip(clips, name):
    """Overwrites one packet of a clip, in its second half."""
    path = write_av(clips / "whole.mp4", 60, options={"g": "10", "bf": "0"})
    offset, size = packets(path)[45]
    overwrite(path, offset, random.Random(1).randbytes(size))
    (clips / name).unlink()
    path.rename(clips / name)


COMPLAINT = "decoded 59 of 60 frames: damaged data at 1.8 s"


def test_a_damaged_clip_is_kept_skipped_or_an_error(tmp_path, clips, manifest, capsys):
    damage_clip(clips, "a/g0_0.avi")
    kept = extract_clips(manifest, clips, tmp_path / "kept")
    damage = {"decoded": 59, "expected": 60, "repaired": 0, "at": 1.8, "complaint": COMPLAINT}
    written = read_json(tmp_path / "kept/frames.json")
    assert written["damaged"] == [{"clip": "a/g0_0.avi", "split": "train", **damage}] and written["skipped"] == []
    assert written == kept.model_dump()
    said = capsys.readouterr().err
    assert "1 of 10 clips are damaged; 59 of their 60 frames are kept:" in said and f"a/g0_0.avi (train): {COMPLAINT}" in said
    left = extract_clips(manifest, clips, tmp_path / "left", on_error="skip")
    assert left.damaged == [] and left.skipped == [SkippedClip(clip="a/g0_0.avi", split="train", reason=COMPLAINT)]
    assert left.splits["train"].clips == kept.splits["train"].clips - 1
    with pytest.raises(UserError, match=rf"clips/a/g0_0\.avi: {COMPLAINT}; replace the file, or set frames\.on_error"):
        extract_clips(manifest, clips, tmp_path / "none", on_error="fail")


def test_folders_of_images_are_clips(tmp_path, clips, manifest):
    images = clips / "a/g0_0.avi"
    images.unlink()
    images.mkdir()
    for index in (1, 2, 10):
        cv2.imwrite(str(images / f"frame_{index}.png"), picture(index)[:, :, ::-1])
    summary = extract_clips(manifest, clips, tmp_path / "out", image_rate=5.0)
    assert summary.skipped == []
    records = map(parse_clip, read_clips(summary.files(tmp_path / "out", "train")))
    (clip,) = [record for record in records if record["clip"].numpy() == b"a/g0_0.avi"]
    assert shown(clip["frames"].numpy()) == [1, 2, 10]
    silent = extract_clips(manifest, clips, tmp_path / "again")
    assert "frames.image_rate is not set" in silent.skipped[0].reason


def test_a_class_must_not_vanish_from_a_split(tmp_path, clips, manifest):
    break_clips(clips, "a/g1_6.avi", "b/g0_1.avi")
    with pytest.raises(
        UserError, match=r"^no validation clip of a can be decoded \(first reason: b/g0_1.avi: FFmpeg cannot read it"
    ):
        extract_clips(manifest, clips, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_decodes(tmp_path, clips, manifest):
    break_clips(clips, *manifest["clip"])
    with pytest.raises(UserError, match=r"^none of the 10 clips can be decoded \(first reason"):
        extract_clips(manifest, clips, tmp_path / "out")


def test_absent_clips_are_an_error_before_any_work(tmp_path, clips, manifest, monkeypatch):
    monkeypatch.setattr(decoding, "encode_any", lambda *a: pytest.fail("decoded"))
    (clips / "b/g1_7.avi").unlink()
    with pytest.raises(UserError, match=r"b/g1_7\.avi: not found \(absent files: 1\)"):
        extract_clips(manifest, clips, tmp_path / "out")


def test_a_killed_run_resumes(tmp_path, clips, manifest, monkeypatch):
    """Killed at the 8th clip: shards of 3, 2, 1 and 1 clips are finished, so 3 of 10 are left to do."""
    expected = tmp_path / "expected"
    extract_clips(manifest, clips, expected)
    decoded = []
    encode_any = decoding.encode_any

    def dying(path, *arguments):
        if len(decoded) == 7:
            raise KeyboardInterrupt
        decoded.append(path)
        return encode_any(path, *arguments)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "encode_any", dying)
        with pytest.raises(KeyboardInterrupt):
            extract_clips(manifest, clips, out)
    assert not out.exists() and len(decoded) == 7
    decoded.clear()
    monkeypatch.setattr(decoding, "encode_any", lambda path, *rest: decoded.append(path) or encode_any(path, *rest))
    extract_clips(manifest, clips, out)
    assert len(decoded) == 3
    assert contents(out) == contents(expected)
    assert list((tmp_path / ".cache" / "frames").glob("*/*")) == []


def test_shards_of_other_settings_or_clips_are_not_reused(tmp_path, clips, manifest, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("stages.extract.summarise", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            extract_clips(manifest, clips, tmp_path / "out")
    decoded = []
    encode_any = decoding.encode_any
    monkeypatch.setattr(decoding, "encode_any", lambda path, *rest: decoded.append(path) or encode_any(path, *rest))
    extract_clips(manifest, clips, tmp_path / "out", quality=90)
    assert len(decoded) == 10
    decoded.clear()
    changed = manifest.copy()
    changed.loc[0, "sha256"] = "0" * 64
    extract_clips(changed, clips, tmp_path / "out")
    assert len(decoded) == 10
    decoded.clear()
    extract_clips(manifest, clips, tmp_path / "out", count=9)
    assert decoded == [], "what does not change the records does not decode again"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX signal")
def test_a_killed_worker_is_one_error_line(tmp_path, clips, manifest, monkeypatch):
    monkeypatch.setattr(decoding, "encode_any", lambda *arguments: os._exit(1))
    with pytest.raises(UserError, match=r"a decoding process was killed .* between a/1 and a/4"):
        list(decoding.encode_clips([whole(f"a/{i}") for i in range(1, 5)], settings(), clips, workers=2))
