"""All stages with a CNN-RNN: short clips are masked, and the served model gives the probabilities of evaluation."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import ClassifierDescription, EmbedSummary, read_export
from pipeline.evaluation.predictions import read_predictions
from tests.explanation.clips import NO_SUSPECTS
from tests.pipeline_runs import Repository, check_calibrated, check_served_as_evaluated, clips

__all__ = ["clips"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cnn_rnn")]
FRAMES = 8  # more than the 6 frames of each clip


@pytest.fixture(scope="module")
def repository(tmp_path_factory, clips) -> Repository:
    options = ("finetune=head", "model.weights=random", f"frames.count={FRAMES}", "finetune.epochs=4", "export=tflite")
    made = Repository(tmp_path_factory.mktemp("cnn_rnn"), f"data.folder={clips}", *options, model="cnn_rnn_mobilenet")
    made.run("download", "extract", "embed", "finetune", "evaluate", "export", "report")
    return made


def test_features_are_cached_per_frame_with_a_mask(repository):
    folder = repository.folder / "data/embeddings"
    summary = EmbedSummary.of(folder)
    assert (summary.shape, summary.masked) == ((FRAMES, 1024), True)
    features, mask = np.load(folder / "train.npy"), np.load(folder / "train_mask.npy")
    assert features.shape == (len(features), 3, FRAMES, 1024) and mask.shape == features.shape[:3]
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(FRAMES) < 6, mask.shape))
    assert not features[~mask].any() and features[mask].any()


def test_the_top_is_calibrated_as_it_says(repository):
    check_calibrated(repository.folder)


def test_the_saved_model_gives_the_probabilities_of_evaluation(repository):
    check_served_as_evaluated(repository.folder)


def test_parts_of_short_clips_are_covered_without_their_padding(repository, tmp_path):
    """With the labels exchanged, so that every clip counts as a mistake."""
    from pipeline.explanation.explain import write_clips

    folder = repository.folder
    test = read_predictions(folder / "results/predictions.csv").of("test")
    wrong = dataclasses.replace(test, labels=1 - test.labels)
    inputs = {
        "frames": folder / "data/frames",
        "embeddings": folder / "data/embeddings",
        "classifier": folder / "models/classifier",
    }
    content = write_clips(tmp_path / "clips", wrong, NO_SUSPECTS, **inputs, occlusion_clips=1, batch=5, engine="auto")
    first = content.mistakes[0]
    row = test.clips.tolist().index(first.clip)
    probability = test.probabilities[row, test.predicted[row]]
    assert first.occlusion.probability == pytest.approx(probability, abs=1e-5) and len(first.occlusion.time) == 6
    assert first.running.probabilities[-1][0] == pytest.approx(probability, abs=1e-3), "one view is the whole clip"
    assert len(first.neighbours) == 3


def test_exported_files_agree_with_the_network(repository):
    card = repository.folder / "models/export/model_card.md"
    assert card.read_text() == (repository.folder / "results/report/model_card.md").read_text()
    assert "| float32.tflite |" in card.read_text() and "--model models/export/float32.tflite" in card.read_text()
    rows = {row.format: row for row in read_export(repository.folder / "results/export.json")}
    assert list(rows) == ["saved_model", "float32", "float16", "dynamic", "int8"]
    assert rows["float32"].agreement == 1 and rows["int8"].bytes < 0.4 * rows["float32"].bytes
    units = ClassifierDescription.of(repository.folder / "models/classifier").settings["units"]
    assert rows["float32"].state_bytes == 4 * sum(units)  # float32


def test_the_prediction_after_the_last_frame_is_that_of_the_whole_clip(repository, clips):
    video = next(clips.rglob("*.avi"))

    def predict(*options: str) -> pd.DataFrame:
        command = [sys.executable, "-m", "commands.predict", str(video), "--format", "csv", "--views", "1", *options]
        process = {"cwd": repository.folder, "env": repository.environment(), "capture_output": True, "text": True}
        done = subprocess.run(command, check=True, **process)
        (repository.folder / "predictions.csv").write_text(done.stdout)
        return pd.read_csv(repository.folder / "predictions.csv")

    whole = predict().iloc[0]
    streamed = predict("--stream")
    assert len(streamed) == 6 == whole["frames"]
    assert streamed["class"].iloc[-1] == whole["class_1"]
    assert streamed["probability"].iloc[-1] == pytest.approx(whole["probability_1"], abs=1e-4)
    lite = predict("--stream", "--model", "models/export/float32.tflite")
    np.testing.assert_allclose(lite["probability"], streamed["probability"], atol=1e-4)


def test_training_the_image_network_is_an_error(clips, tmp_path):
    from pipeline.console import UserError

    with pytest.raises(UserError, match="the image network of a CNN-RNN stays frozen; set finetune=head"):
        _ = Repository(tmp_path, f"data.folder={clips}", "finetune=full", model="cnn_rnn_mobilenet").params
