"""Evaluates the classifier on the test and validation splits.

A clip's probabilities are the mean over `evaluate.views` evenly spaced views. They are computed from the cached features if the
backbone is frozen, else from the records. Outputs: `results/metrics.json`, `results/predictions.csv` and `results/run.json`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import tracking
from pipeline.artifacts import (
    CLASSIFIER,
    EMBEDDINGS,
    FRAMES,
    METRICS,
    PREDICTIONS,
    RUN,
    TRAINING_RUN,
    ClassifierDescription,
    FramesSummary,
    Metrics,
    is_cached,
)
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.evaluation.metrics import score
from pipeline.evaluation.predictions import predictions_frame, write_predictions
from pipeline.models.family import predict
from pipeline.params import Params, load_params
from pipeline.training.cached_features import read_features

SPLITS = ("test", "validation")


def predict_features(
    embeddings: Path, split: str, classifier: Path, description: ClassifierDescription
) -> tuple[pd.DataFrame, np.ndarray]:
    """Applies the classifier's top to a split's cached features.

    Returns:
      - A frame with the columns clip, group and label, a row per clip.
      - Probabilities float32 (clips, classes), the mean over the views.
    """
    cached = read_features(embeddings, split)
    clips, views = cached.labels.shape
    rows = pd.read_csv(embeddings / f"{split}.csv", dtype=str, keep_default_na=False)
    rows["label"] = cached.labels[:, 0]
    flat = cached.flat()
    each = predict(classifier, description, flat.features, flat.mask)
    return rows, each.reshape(clips, views, -1).mean(axis=1)


def predict_clips(frames: Path, split: str, saved_model: Path, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Runs the whole classifier on a split's records. Returns the same as `predict_features`."""
    import tensorflow as tf

    from pipeline.training.datasets import test_clips
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    summary = FramesSummary.of(frames)
    views = params.evaluate.views
    classifier = tf.saved_model.load(str(saved_model))
    rows, probabilities = [], []
    dataset = test_clips(summary.files(frames, split), views, params.sampling)
    with progress(total=summary.splits[split].clips, describe=f"evaluating {split}", unit="clip") as bar:
        for block in dataset.batch(max(1, params.speed.inference_batch // views)).prefetch(2):
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
) -> tuple[Metrics, dict[str, pd.DataFrame]]:
    """Returns the metrics, and the predictions by split.

    Raises:
      UserError: the classifier was trained with other views, classes or `finetune.trainable` than `params` and `frames` have.
    """
    description = ClassifierDescription.of(classifier)
    for key, current in (
        ("count", params.frames.count),
        ("size", params.frames.size),
        ("sampling", params.frames.sampling),
        ("views", params.evaluate.views),
        ("trainable", params.finetune.trainable),
        ("classes", FramesSummary.of(frames).classes),
    ):
        trained_with = getattr(description, key)
        if trained_with != current:
            message = f"{classifier}: made with {key} {trained_with}, but now it is {current}"
            raise UserError(message, advice="run `dvc repro`")
    scores, predictions = {}, {}
    for split in SPLITS:
        if is_cached(embeddings):
            rows, probabilities = predict_features(embeddings, split, classifier, description)
        else:
            rows, probabilities = predict_clips(frames, split, classifier / "saved_model", params)
        order = np.argsort(rows["clip"].to_numpy())
        rows, probabilities = rows.iloc[order], probabilities[order]
        labels, groups = rows["label"].to_numpy(), rows["group"].to_numpy()
        scores[split] = score(probabilities, labels, groups, params.evaluate, params.seed)
        predictions[split] = predictions_frame(rows["clip"], groups, split, labels, probabilities, description.classes)
    return Metrics(**scores), predictions


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    with tracking.stage_run(params, "evaluate", TRAINING_RUN, RUN) as tracked:
        metrics, predictions = run(params)
        write_predictions(PREDICTIONS, *predictions.values())
        metrics.write(METRICS)
        tracked.log_metrics(metrics.model_dump())
    test = metrics.test
    interval = "" if test.top1_low is None else f" ({test.top1_low:.3f} to {test.top1_high:.3f})"
    say(f"test top-1 {test.top1:.3f}{interval} on {test.clips} clips of {test.groups} groups")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
