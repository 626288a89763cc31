"""results/clips: what is in it, in which order, and why something is not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription, ShownClips
from pipeline.evaluation.held_out import ClipFeatures
from pipeline.explanation import explain
from pipeline.files import write_json
from tests.explanation.clips import NO_SUSPECTS, predictions, write_records

# name -> label, grey of each frame. The classifier below says class 1 with the probability of the mean brightness.
TEST = {
    "a/sure.avi": (0, [230] * 10),
    "a/unsure.avi": (0, [140] * 10),
    "a/right.avi": (0, [20] * 10),
    "b/dark.avi": (1, [30] * 10),
    "b/right.avi": (1, [240] * 10),
}
TRAIN = {"a/near.avi": (0, [200] * 6), "b/far.avi": (1, [10] * 6), "b/near.avi": (1, [220] * 6)}
REASON = "the backbone is trained"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, Path]:
    """The frames, embeddings (none) and classifier of a run whose predictions are the brightness of the clips."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("run")
    files = {split: write_records(root / "frames", split, clips) for split, clips in (("test", TEST), ("train", TRAIN))}
    counts = {"clips": 0, "frames": 0, "groups": 0, "bytes": 0, "frames_per_clip": None, "per_class": {}}
    summary = {"classes": ["class 0", "class 1"], "fps": 5, "size": 48, "quality": 95, "skipped": [], "damaged": []}
    splits = {split: counts | {"files": [path.name for path in paths]} for split, paths in files.items()}
    write_json(root / "frames/frames.json", summary | {"splits": splits})
    write_json(root / "embeddings/embed.json", {"mode": "none", "reason": REASON})
    shape = {"fps": 5, "size": 48, "count": 8, "views": 2}
    ClassifierDescription(classes=["class 0", "class 1"], model="a0", **shape).write(root / "classifier/classifier.json")

    class Brightness(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 48, 48, 3])])
        def probabilities(self, views):
            bright = tf.reduce_mean(views, axis=[1, 2, 3, 4])
            return tf.stack([1 - bright, bright], axis=1)

    tf.saved_model.save(Brightness(), str(root / "classifier/saved_model"))
    return {name: root / name for name in ("frames", "embeddings", "classifier")}


@pytest.fixture(scope="module")
def test_predictions():
    bright = [levels[0] / 255 for _, levels in TEST.values()]
    return predictions([label for label, _ in TEST.values()], [[1 - value, value] for value in bright], list(TEST))


def write(folder: Path, trained: dict[str, Path], test, occlusion_clips: int = 2, suspects=NO_SUSPECTS) -> ShownClips:
    content = explain.write_clips(folder, test, suspects, **trained, occlusion_clips=occlusion_clips, batch=8, engine="auto")
    assert ShownClips.read(folder / "clips.json") == content
    names = [name for strip in content.strips for name in strip.files]
    assert sorted(names) == sorted(path.name for path in folder.glob("*.jpg"))
    return content


def test_the_surest_mistakes_are_explained_first(tmp_path, trained, test_predictions):
    content = write(tmp_path / "clips", trained, test_predictions)
    assert [mistake.clip for mistake in content.mistakes] == ["a/sure.avi", "b/dark.avi", "a/unsure.avi"]
    first, second, third = content.mistakes
    assert first.occlusion.probability == pytest.approx(230 / 255, abs=0.01)
    assert second.occlusion.probability == pytest.approx(1 - 30 / 255, abs=0.01), "of the predicted class"
    # A uniform clip is as bright where it is covered with its mean colour.
    assert np.abs(first.occlusion.space).max() < 0.01 and len(first.occlusion.time) == 8
    assert third.occlusion is None and first.running is None
    assert content.no_running.startswith("a0 takes whole clips; frame by frame ")
    assert REASON in content.no_neighbours and not content.no_occlusion


def test_strips_of_mistakes_come_before_those_of_other_cells(tmp_path, trained, test_predictions):
    content = write(tmp_path / "clips", trained, test_predictions)
    clips = [strip.clip for strip in content.strips]
    assert clips[:3] == [mistake.clip for mistake in content.mistakes] and sorted(clips) == sorted(TEST)
    assert {strip.clip: strip.class_name for strip in content.strips}["b/dark.avi"] == "class 1"
    assert content.strips[0].seconds == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])


def test_strips_that_do_not_fit_are_left_out(tmp_path, trained, test_predictions, monkeypatch):
    everything = write(tmp_path / "all", trained, test_predictions)
    sizes = [sum((tmp_path / "all" / name).stat().st_size for name in strip.files) for strip in everything.strips]
    monkeypatch.setattr(explain, "STRIP_BYTES", sum(sizes[:4]))
    assert write(tmp_path / "some", trained, test_predictions).strips == everything.strips[:4]
    monkeypatch.setattr(explain, "STRIP_BYTES", sum(sizes[:4]) - 1)
    assert write(tmp_path / "fewer", trained, test_predictions).strips == everything.strips[:3]


def test_equal_inputs_give_equal_files(tmp_path, trained, test_predictions):
    for name in ("one", "other"):
        write(tmp_path / name, trained, test_predictions)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


def test_nothing_is_computed_if_it_is_switched_off(tmp_path, trained, test_predictions):
    without = trained | {"classifier": tmp_path / "classifier"}
    ClassifierDescription.of(trained["classifier"]).write(without["classifier"] / "classifier.json")  # and no SavedModel
    content = write(tmp_path / "clips", without, test_predictions, occlusion_clips=0)
    assert content.no_occlusion == content.no_running == "evaluate.occlusion_clips is 0"
    assert len(content.strips) == len(TEST) and [mistake.occlusion for mistake in content.mistakes] == [None] * 3


def test_neighbours_are_training_clips_by_their_features(tmp_path, trained, test_predictions, monkeypatch):
    from pipeline.video.records import shard_order

    embeddings = tmp_path / "embeddings"
    write_json(embeddings / "embed.json", {"mode": "cached"})
    clips = {"test": TEST, "train": TRAIN}
    for split, own in clips.items():
        (embeddings / f"{split}.csv").write_text("clip,group\n" + "".join(f"{clip},g\n" for clip in shard_order(own)))

    def features(folder, split, description):
        own = [clips[split][clip] for clip in shard_order(clips[split])]
        angles = np.array([levels[0] / 255 for _, levels in own])
        return ClipFeatures(np.column_stack([np.cos(angles), np.sin(angles)]), np.array([label for label, _ in own]), angles)

    monkeypatch.setattr(explain, "clip_features", features)
    content = write(tmp_path / "clips", trained | {"embeddings": embeddings}, test_predictions, occlusion_clips=0)
    first = content.mistakes[0]  # as bright as 230
    assert [one.clip for one in first.neighbours] == ["b/near.avi", "a/near.avi", "b/far.avi"]
    assert [one.class_name for one in first.neighbours] == ["class 1", "class 0", "class 1"]
    assert first.neighbours[0].similarity == pytest.approx(np.cos(10 / 255), abs=1e-6)
    assert content.no_neighbours == ""
    of_training = {strip.clip: strip for strip in content.strips if strip.split == "train"}
    assert set(of_training) == set(TRAIN) and of_training["b/near.avi"].class_name == "class 1"


def test_suspects_of_any_split_have_strips_before_the_cells(tmp_path, trained, test_predictions, monkeypatch):
    from pipeline.video.records import shard_order

    embeddings = tmp_path / "embeddings"
    write_json(embeddings / "embed.json", {"mode": "none", "reason": REASON})
    (embeddings / "train.csv").write_text("clip,group\n" + "".join(f"{clip},g\n" for clip in shard_order(TRAIN)))
    named = [("b/near.avi", "train", "class 0"), ("b/right.avi", "test", "class 0"), ("a/near.avi", "train", "class 1")]
    suspects = pd.DataFrame(named, columns=["clip", "split", "given"])
    monkeypatch.setattr(explain, "SUSPECTS", 2)
    content = write(tmp_path / "clips", trained | {"embeddings": embeddings}, test_predictions, 0, suspects)
    strips = [(strip.split, strip.clip) for strip in content.strips]
    assert strips[3:5] == [("train", "b/near.avi"), ("test", "b/right.avi")] and ("train", "a/near.avi") not in strips
    assert content.strips[3].class_name == "class 0", "the label it has"


def test_without_mistakes_there_is_nothing_to_explain(tmp_path, trained):
    test = predictions([label for label, _ in TEST.values()], [[1 - label, label] for label, _ in TEST.values()], list(TEST))
    content = write(tmp_path / "clips", trained, test)
    assert content.mistakes == [] and len(content.strips) == len(TEST)
    assert json.loads((tmp_path / "clips/clips.json").read_text())["no_occlusion"] == ""
