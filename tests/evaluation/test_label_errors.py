"""Wrong labels that are planted are named, with the right class; right ones are not, nor where the features say nothing."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription
from pipeline.evaluation import label_errors
from pipeline.evaluation.held_out import ClipFeatures
from pipeline.evaluation.label_errors import COLUMNS, KeptJudgement, assign_folds, find_label_errors, judge
from pipeline.files import write_json
from pipeline.sources.manifest import write_manifest

PLANTED = [3, 17, 26, 41, 58]  # of the clips that `examples` makes


def examples(classes: int = 4, groups: int = 8, clips: int = 2, spread: float = 0.5, seed: int = 1) -> ClipFeatures:
    """`clips` clips of each of `groups` groups a class; a class lies around 3 on an axis of its own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), groups * clips)
    of_group = np.arange(len(labels)) // clips
    features = 3 * np.eye(classes, 12)[labels] + spread * random.normal(size=(len(labels), 12))
    return ClipFeatures(features.astype(np.float32), labels, np.array([f"g{number:02d}" for number in of_group]))


def with_planted(clips: ClipFeatures, classes: int = 4) -> np.ndarray:
    labels = clips.labels.copy()
    labels[PLANTED] = (labels[PLANTED] + 1) % classes
    return labels


def test_planted_errors_are_the_suspects_and_their_own_class_is_suggested():
    clips = examples()
    found = judge(clips.features, with_planted(clips), clips.groups, 4)
    assert np.flatnonzero(found.suspect).tolist() == PLANTED
    assert found.probabilities.argmax(1)[PLANTED].tolist() == clips.labels[PLANTED].tolist()
    assert found.quality[PLANTED].max() < np.delete(found.quality, PLANTED).min()
    assert found.probabilities.sum(1) == pytest.approx(1)


def test_what_is_kept_of_a_judgement_does_not_grow_with_the_classes():
    clips = examples()
    labels = np.where(clips.labels == 3, 9, clips.labels)  # the clips of a class of one group are not judged
    groups = np.where(clips.labels == 3, "one", clips.groups)
    judgement = judge(clips.features, labels, groups, 10)
    lists = json.loads(json.dumps(KeptJudgement.of(judgement, labels).to_lists()))
    kept, every = KeptJudgement.from_lists(lists), np.arange(64)
    assert all(array.shape == (64,) for array in kept[:-1])
    np.testing.assert_array_equal(kept.suggested, judgement.probabilities.argmax(1))
    np.testing.assert_array_equal(kept.p_given, judgement.probabilities[every, labels])
    np.testing.assert_array_equal(kept.p_suggested, judgement.probabilities.max(1))
    np.testing.assert_array_equal(kept.quality, judgement.quality)
    assert np.isnan(kept.quality[labels == 9]).all() and kept.judged.tolist() == judgement.judged.tolist()
    assert kept.suspect.tolist() == judgement.suspect.tolist() and kept.accuracy == judgement.accuracy


def test_right_labels_are_not_suspected_and_quality_is_the_margin_of_the_label():
    clips = examples()
    found = judge(clips.features, clips.labels, clips.groups, 4)
    assert not found.suspect.any() and found.judged.all() and found.accuracy == 1
    own = found.probabilities[np.arange(64), clips.labels]
    other = np.where(np.eye(4, dtype=bool)[clips.labels], 0, found.probabilities).max(1)
    assert found.quality == pytest.approx((1 + own - other) / 2)


def test_a_clip_is_judged_without_its_group():
    # All features of a group are the same and no other group has them: who saw the group would give its class for certain.
    random = np.random.default_rng(3)
    clips = examples(classes=2, groups=10, clips=4)
    features = random.normal(size=(20, 40)).repeat(4, axis=0)
    found = judge(features, clips.labels, clips.groups, 2)
    assert found.accuracy < 0.8
    single = judge(features, clips.labels, np.array([f"c{number}" for number in range(80)]), 2)
    assert single.accuracy > 0.95


def test_where_features_do_not_tell_classes_apart_nothing_is_suspected():
    clips = examples(spread=0.5)
    random = np.random.default_rng(2).normal(size=clips.features.shape)
    found = judge(random, clips.labels, clips.groups, 4)
    assert found.accuracy < 0.5 and found.judged.all() and not found.suspect.any()


def test_accuracy_counts_classes_alike():
    clips = examples(classes=2, groups=40)
    features = clips.features.copy()
    features[80:] = features[:80]  # the second class looks like the first
    kept = np.r_[:80, 80:86]
    found = judge(features[kept], clips.labels[kept], clips.groups[kept], 2)
    assert found.accuracy == pytest.approx(0.5, abs=0.1)


def test_clips_of_a_class_with_one_group_are_not_judged_and_others_are_as_without_them():
    clips = examples()
    labels = with_planted(clips)
    lone = np.full(3, 4)
    found = judge(
        np.vstack([clips.features, np.full((3, 12), 5)]), np.r_[labels, lone], np.r_[clips.groups, ["lone"] * 3], classes=5
    )
    without = judge(clips.features, labels, clips.groups, 4)
    assert found.judged.tolist() == [True] * 64 + [False] * 3
    assert np.isnan(found.quality[64:]).all() and not found.suspect[64:].any()
    np.testing.assert_array_equal(found.probabilities[:64], np.column_stack([without.probabilities, np.zeros(64)]))
    np.testing.assert_array_equal(found.suspect[:64], without.suspect)


def test_without_two_classes_to_tell_apart_nothing_is_judged():
    clips = examples(classes=2, groups=3)
    groups = np.where(clips.labels == 1, "one", clips.groups)
    found = judge(clips.features, clips.labels, groups, 2)
    assert not found.judged.any() and not found.suspect.any() and found.accuracy is None


def test_folds_keep_groups_whole_and_spread_every_class():
    clips = examples(classes=4, groups=10, clips=3)
    folds = assign_folds(clips.labels, clips.groups)
    counts = pd.crosstab(clips.labels, folds)
    assert counts.shape == (4, 5) and (counts == 6).all(axis=None)
    assert (pd.Series(folds).groupby(clips.groups).nunique() == 1).all()


def test_a_class_of_two_groups_can_be_learnt_without_either():
    # Groups of several classes, few of them: whatever the fold, each class is in another one, too.
    random = np.random.default_rng(0)
    for trial in range(50):
        labels = np.r_[np.arange(6).repeat(2), random.integers(0, 6, 30)]
        groups = np.r_[[f"g{number % 2}" for number in range(12)], [f"g{number}" for number in random.integers(0, 9, 30)]]
        folds = assign_folds(labels, groups, folds=2)
        assert all(len(np.unique(folds[labels == label])) > 1 for label in range(6)), trial
        assert (pd.Series(folds).groupby(groups).nunique() == 1).all()


def test_of_a_large_class_evenly_spaced_clips_are_learnt_from(monkeypatch):
    rows, labels = np.arange(1, 12), np.array([0] * 9 + [1] * 3)
    assert label_errors._at_most(rows, labels, 3).tolist() == [1, 5, 8, 9, 10, 11]
    clips = examples(groups=20)
    monkeypatch.setattr(label_errors, "MAX_CLIPS", 10)
    assert judge(clips.features, clips.labels, clips.groups, 4).accuracy == 1


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Embeddings of `examples` in three splits, not in the order of names, with its manifest; features are those of the probe."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    clips, names = examples(), ["Archery", "Bowling", "Cooking", "Diving"]
    labels = with_planted(clips)
    ids = np.array([f"{names[label]}/v{number:02d}.avi" for number, label in enumerate(labels)])
    splits = np.array(["train", "validation", "test", "train"] * 16)
    embeddings, classifier = tmp_path / "embeddings", tmp_path / "classifier"
    embeddings.mkdir()
    random = np.random.default_rng(4)
    for split in ("train", "validation", "test"):
        rows = random.permutation(np.flatnonzero(splits == split))
        np.save(embeddings / f"{split}.npy", np.repeat(clips.features[rows, np.newaxis], 2, axis=1))
        np.save(embeddings / f"{split}_labels.npy", np.repeat(labels[rows, np.newaxis], 2, axis=1))
        pd.DataFrame({"clip": ids[rows], "group": clips.groups[rows]}).to_csv(embeddings / f"{split}.csv", index=False)
    write_json(embeddings / "embed.json", {"mode": "cached", "classes": names})
    description = ClassifierDescription(classes=names, model="a0", fps=5, size=64, count=8, views=2)
    classifier.mkdir()
    description.write(classifier / "classifier.json")
    monkeypatch.setattr("pipeline.evaluation.classifier.probe_features", lambda embeddings, description, features, mask: features)
    columns = {
        "clip": ids,
        "file": [f"{clip}.mp4" for clip in ids],
        "start": "",
        "end": "",
        "class": [names[label] for label in labels],
        "label": labels,
        "group": clips.groups,
        "split": splits,
        "source": [f"all/{clip}" for clip in ids],
        "duplicate_of": "",
        "bytes": 10,
        "sha256": "0" * 64,
    }
    write_manifest(pd.DataFrame(columns).sort_values("clip", ignore_index=True), tmp_path / "manifest.csv")
    return embeddings, classifier, tmp_path / "manifest.csv"


def test_the_table_names_the_planted_clips_with_files_and_classes_the_worst_first(files):
    summary, suspects = find_label_errors(*files)
    assert (summary.clips, summary.judged, summary.suspects, summary.reason) == (64, 64, 5, "")
    assert list(suspects.columns) == COLUMNS
    assert set(suspects["clip"].str[-6:-4].astype(int)) == set(PLANTED)
    assert suspects["quality"].is_monotonic_increasing
    row = suspects.set_index("clip").loc["Bowling/v03.avi"]
    assert (row["file"], row["source"]) == ("Bowling/v03.avi.mp4", "all/Bowling/v03.avi")
    assert (row["split"], row["group"], row["given"], row["suggested"]) == ("train", "g01", "Bowling", "Archery")
    assert row["p_given"] < 0.5 < row["p_suggested"] <= 1
    assert row["quality"] == pytest.approx((1 + row["p_given"] - row["p_suggested"]) / 2)


def test_views_that_show_another_class_do_not_count(files):
    embeddings, *_ = files
    features, labels = np.load(embeddings / "train.npy"), np.load(embeddings / "train_labels.npy")
    summary, suspects = find_label_errors(*files)
    features[:, 1], labels[:, 1] = 3 * np.eye(4, 12)[(labels[:, 1] + 2) % 4], (labels[:, 1] + 2) % 4
    np.save(embeddings / "train.npy", features)
    np.save(embeddings / "train_labels.npy", labels)
    again, same = find_label_errors(*files)
    assert again == summary
    pd.testing.assert_frame_equal(same, suspects)


def test_with_a_trained_backbone_the_table_is_empty_and_says_why(files):
    embeddings, *_ = files
    write_json(embeddings / "embed.json", {"mode": "none", "reason": "the backbone trains"})
    summary, suspects = find_label_errors(*files)
    assert suspects.empty and list(suspects.columns) == COLUMNS
    assert summary.judged == 0 and summary.accuracy is None and "backbone was trained" in summary.reason


def test_features_that_say_nothing_leave_the_table_empty_and_the_reason_says_so(files):
    embeddings, *_ = files
    for split in ("train", "validation", "test"):
        features = np.load(embeddings / f"{split}.npy")
        np.save(embeddings / f"{split}.npy", np.random.default_rng(5).normal(size=features.shape))
    summary, suspects = find_label_errors(*files)
    assert suspects.empty and summary.judged == 64 and summary.suspects == 0
    assert "in only" in summary.reason and f"{summary.accuracy:.0%}" in summary.reason


def test_classes_of_one_group_leave_nothing_to_judge(files):
    embeddings, *_ = files
    for split in ("train", "validation", "test"):
        rows = pd.read_csv(embeddings / f"{split}.csv", dtype=str)
        rows.assign(group=rows["clip"].str.split("/").str[0]).to_csv(embeddings / f"{split}.csv", index=False)
    summary, suspects = find_label_errors(*files)
    assert suspects.empty and (summary.clips, summary.judged) == (64, 0) and "2 groups" in summary.reason
