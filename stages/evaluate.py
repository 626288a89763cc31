"""Measures the classifier on the test split, and on the validation split beside it, clip by clip.

A clip's probabilities are the mean over `evaluate.views` evenly spaced views, from the cached features where the backbone is
frozen, else from the records. Written: `results/metrics.json`, `results/predictions.csv` and `results/run.json`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import tracking
from pipeline.artifacts import CLASSIFIER, EMBEDDINGS, FRAMES, METRICS, PREDICTIONS, RUN, TRAINING_RUN, is_cached
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import predictions_frame, write_predictions
from pipeline.files import read_json, write_json
from pipeline.models.movinet.head_values import head_probabilities, load_head
from pipeline.params import Params, load_params

SPLITS = ("test", "validation")


def predict_features(embeddings: Path, split: str, head: Path, activation: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Applies the head in the file `head` to a split's cached features.

    Returns a frame with clip, group and label a row, and the probabilities, float32 (clips, classes), averaged over the views.
    """
    features = np.load(embeddings / f"{split}.npy")
    rows = pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False)
    rows["label"] = np.load(embeddings / f"{split}_labels.npy")[:, 0]
    clips, views, width = features.shape
    each = head_probabilities(features.reshape(-1, width), load_head(head), activation)
    return rows, each.reshape(clips, views, -1).mean(axis=1)


def predict_clips(frames: Path, split: str, saved_model: Path, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Runs the whole classifier over a split's records; returns what `predict_features` does."""
    import tensorflow as tf

    from pipeline.training.datasets import test_clips
    from pipeline.training.runtime import be_deterministic

    be_deterministic()
    part = read_json(frames / "frames.json")["splits"][split]
    views = params.evaluate.views
    classifier = tf.saved_model.load(str(saved_model))
    rows, probabilities = [], []
    dataset = test_clips([frames / name for name in part["files"]], views, params)
    with progress(total=part["clips"], describe=f"evaluating {split}", unit="clip") as bar:
        for block in dataset.batch(max(1, params.evaluate.batch_size // views)).prefetch(2):
            pixels = block["views"]
            each = classifier.probabilities(tf.reshape(pixels, (-1, *pixels.shape[2:]))).numpy()
            probabilities.append(each.reshape(-1, views, each.shape[-1]).mean(axis=1))
            rows += [
                (clip.decode(), group.decode(), int(label))
                for clip, group, label in zip(*(block[key].numpy() for key in ("clip", "group", "label")), strict=True)
            ]
            bar.update(len(pixels))
    return pd.DataFrame(rows, columns=["clip", "group", "label"]), np.concatenate(probabilities)


def run(
    params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS, classifier: Path = CLASSIFIER
) -> tuple[dict[str, dict], dict[str, pd.DataFrame]]:
    """Evaluates; returns by split the scores (the content of metrics.json) and the predictions.

    Raises:
      UserError: a classifier that was trained for other views or classes than these.
    """
    description = read_json(classifier / "classifier.json")
    for key, asked in (
        ("count", params.frames.count),
        ("size", params.frames.size),
        ("views", params.evaluate.views),
        ("trainable", params.finetune.trainable),
        ("classes", read_json(frames / "frames.json")["classes"]),
    ):
        if description[key] != asked:
            raise UserError(f"{classifier}: made with {key} {description[key]}, but now it is {asked}", advice="run `dvc repro`")
    metrics, predictions = {}, {}
    for split in SPLITS:
        if is_cached(embeddings):
            rows, probabilities = predict_features(embeddings, split, classifier / "head.npz", description["activation"])
        else:
            rows, probabilities = predict_clips(frames, split, classifier / "saved_model", params)
        order = np.argsort(rows["clip"].to_numpy())
        rows, probabilities = rows.iloc[order], probabilities[order]
        labels, groups = rows["label"].to_numpy(), rows["group"].to_numpy()
        metrics[split] = score(probabilities, labels, groups, params.evaluate, params.seed)
        predictions[split] = predictions_frame(rows["clip"], groups, split, labels, probabilities, description["classes"])
    return metrics, predictions


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    with tracking.stage_run(params, "evaluate", TRAINING_RUN, RUN) as tracked:
        metrics, predictions = run(params)
        write_predictions(PREDICTIONS, *predictions.values())
        write_json(METRICS, metrics)
        tracked.log_metrics(metrics)
    test = metrics["test"]
    interval = "" if test["top1_low"] is None else f" ({test['top1_low']:.3f} to {test['top1_high']:.3f})"
    say(f"test top-1 {test['top1']:.3f}{interval} on {test['clips']} clips of {test['groups']} groups")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
