"""The gain over the starting probe, with probabilities and differences worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import STARTING_PROBE, ClassifierDescription
from pipeline.evaluation import gain
from pipeline.evaluation.predictions import predictions_frame
from pipeline.settings import Evaluate

CLASSES = ["a", "b"]
CLIPS = ["a/1.avi", "a/2.avi", "b/1.avi", "b/2.avi"]
LABELS = np.array([0, 0, 1, 1])
SETTINGS = Evaluate(views=2, bootstrap=500, confidence=0.95, bins=5, baseline_clips=0, occlusion_clips=0)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Embeddings whose clips are not sorted, with two views of one feature each, and a probe whose logits are (x, -x) of it."""
    embeddings, classifier = tmp_path / "embeddings", tmp_path / "classifier"
    embeddings.mkdir()
    classifier.mkdir()
    order = [2, 0, 3, 1]
    views = np.array([[1.0, 3.0], [-1.0, -2.0], [-2.0, -2.0], [-1.0, 0.5]])  # of a/1, a/2, b/1 and b/2
    np.save(embeddings / "test.npy", views[order][..., np.newaxis].astype(np.float32))
    np.save(embeddings / "test_labels.npy", np.repeat(LABELS[order][:, np.newaxis], 2, axis=1).astype(np.int32))
    pd.DataFrame({"clip": [CLIPS[k] for k in order], "group": "g"}).to_csv(embeddings / "test.csv", index=False)
    np.savez(classifier / STARTING_PROBE, kernel=np.array([[1.0, -1.0]]), bias=np.zeros(2))
    ClassifierDescription(classes=CLASSES, model="a0", fps=5, size=64, count=8, views=2).write(classifier / "classifier.json")
    monkeypatch.setattr(gain, "probe_features", lambda embeddings, description, features, mask: features)
    return embeddings, classifier


def predictions(groups: list[str]) -> pd.DataFrame:
    of_actual = np.array([0.9, 0.8, 0.7, 0.4])
    probabilities = np.where(np.arange(2) == LABELS[:, np.newaxis], of_actual[:, np.newaxis], 1 - of_actual[:, np.newaxis])
    return predictions_frame(CLIPS, groups, "test", LABELS, probabilities, CLASSES)


def test_scores_of_both_are_of_the_same_clips(folders):
    found = gain.gain_over_probe(predictions(["p", "q", "r", "s"]), *folders, SETTINGS, seed=1)

    def of_actual(*features: float) -> float:
        return float(np.mean([1 / (1 + np.exp(-2 * x)) for x in features]))

    actual = np.array([of_actual(1, 3), of_actual(-1, -2), of_actual(2, 2), of_actual(1, -0.5)])
    probe_loss, loss = -np.log(actual).mean(), -np.log([0.9, 0.8, 0.7, 0.4]).mean()
    assert found.probe_top1 == 0.75 and found.top1 == 0.0, "the probe errs on a/2, the classifier on b/2"
    assert found.probe_log_loss == pytest.approx(probe_loss, rel=1e-6)
    assert found.log_loss == pytest.approx(loss - probe_loss, rel=1e-5)
    assert found.top1_low < 0 < found.top1_high
    assert found.log_loss_low < found.log_loss < found.log_loss_high


def test_one_group_has_no_interval(folders):
    found = gain.gain_over_probe(predictions(["g"] * 4), *folders, SETTINGS, seed=1)
    assert (found.top1_low, found.log_loss_high) == (None, None)


def test_a_classifier_that_started_from_no_probe_has_none(folders):
    embeddings, classifier = folders
    (classifier / STARTING_PROBE).unlink()
    assert gain.gain_over_probe(predictions(["g"] * 4), embeddings, classifier, SETTINGS, seed=1) is None


def test_features_of_other_clips_are_refused(folders):
    other = predictions(["g"] * 4).iloc[:3]
    with pytest.raises(ValueError, match="not of the test clips"):
        gain.gain_over_probe(other, *folders, SETTINGS, seed=1)
