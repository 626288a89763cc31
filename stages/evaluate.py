"""Evaluates the classifier on the test and validation splits.

A clip's probabilities are the mean over `evaluate.views` evenly spaced views. They are computed from the cached features if the
backbone is frozen, else from the records. From cached features it is also measured how often clips of unknown classes are
refused. Outputs: `results/metrics.json`, `results/predictions.csv`, `results/held_out.json` and `results/run.json`.
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
    HELD_OUT,
    METRICS,
    PREDICTIONS,
    RUN,
    TRAINING_RUN,
    ClassifierDescription,
    FramesSummary,
    Metrics,
)
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.evaluation.classifier import hold_out, predict_features, score_splits
from pipeline.evaluation.predictions import write_predictions
from pipeline.params import Params, load_params


def predict_clips(frames: Path, split: str, saved_model: Path, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Runs the whole classifier on a split's records. Returns what `predict_features` does."""
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

    def predict(split: str) -> tuple[pd.DataFrame, np.ndarray]:
        if params.finetune.frozen:
            return predict_features(embeddings, split, classifier, description)
        return predict_clips(frames, split, classifier / "saved_model", params)

    return score_splits(predict, description, params.evaluate, params.seed)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    with tracking.stage_run(params, "evaluate", TRAINING_RUN, RUN) as tracked:
        metrics, predictions = run(params)
        write_predictions(PREDICTIONS, *predictions.values())
        held_out = hold_out(EMBEDDINGS, CLASSIFIER)
        held_out.write(HELD_OUT)
        metrics.write(METRICS)
        tracked.log_metrics(metrics.model_dump(exclude={"decision", "interpolation"}) | {"held_out": held_out.means()})
        tracked.log_artifact(HELD_OUT)
        tracked.log_artifact(PREDICTIONS)
    test = metrics.test
    interval = "" if test.top1_low is None else f" ({test.top1_low:.3f} to {test.top1_high:.3f})"
    say(f"test top-1 {test.top1:.3f}{interval} on {test.clips} clips of {test.groups} groups")
    if test.accuracy_when_known is not None:
        say(f"{test.coverage:.1%} of the test clips get a class, {test.accuracy_when_known:.1%} of these the right one")
    if held_out.classes:
        say(f"{held_out.means()['refused']:.1%} of the clips of held-out classes are unknown (results/held_out.json)")
    else:
        say(f"no class was held out: {held_out.reason}")


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
