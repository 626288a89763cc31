"""Evaluates the classifier on the test and validation splits.

A clip's probabilities are the mean over `evaluate.views` evenly spaced views. They are computed from the cached features if the
backbone is frozen, else from the records. From cached features it is also measured how often clips of unknown classes are
refused, and the clips are named whose label may be wrong. Baselines (`pipeline.evaluation.baselines`) say what the accuracy is
worth. For the report, film strips of clips are made, and it is measured what the surest mistakes depend on
(`pipeline.explanation`). Outputs: `results/metrics.json`, `results/scores.json` (its main numbers), `results/predictions.csv`,
`results/held_out.json`, `results/suspects.csv`, `results/clips` and `results/run.json`.
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
    MANIFEST,
    METRICS,
    PREDICTIONS,
    RUN,
    SCORES,
    SHOWN_CLIPS,
    SUSPECTS,
    TRAINING_RUN,
    Baselines,
    ClassifierDescription,
    FramesSummary,
    LabelErrors,
    Metrics,
    ScoresSummary,
)
from pipeline.console import STARTS_OVER, UserError, progress, run_command, say
from pipeline.engines.engine import Network
from pipeline.evaluation.baselines import ReorderedPredictions, measure_baselines, predict_reordered_features
from pipeline.evaluation.classifier import hold_out, predict_features, score_splits
from pipeline.evaluation.gain import gain_over_probe
from pipeline.evaluation.label_errors import find_label_errors
from pipeline.evaluation.predictions import read_predictions, write_predictions
from pipeline.evaluation.suspects import read_suspects, write_suspects
from pipeline.models.family import open_probabilities
from pipeline.params import Params, load_params
from pipeline.video.sampling import FRAME_ORDERS

UNBALANCED = 0.5  # with a class that has fewer test clips than this share of the largest, the balanced accuracy is said, too


def predict_clips(frames: Path, split: str, network: Network, params: Params) -> tuple[pd.DataFrame, np.ndarray]:
    """Runs the whole classifier on a split's records. Returns what `predict_features` does."""
    from pipeline.training.datasets import test_clips
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    summary = FramesSummary.of(frames)
    views = params.evaluate.views
    rows, probabilities = [], []
    dataset = test_clips(summary.files(frames, split), views, params.sampling)
    with progress(total=summary.splits[split].clips, describe=f"evaluating {split}", unit="clip") as bar:
        for block in dataset.batch(max(1, params.speed.inference_batch // views)).prefetch(2):
            pixels = block["views"].numpy()
            each = network(pixels.reshape(-1, *pixels.shape[2:]))
            probabilities.append(each.reshape(-1, views, each.shape[-1]).mean(axis=1))
            rows += [
                (clip.decode(), group.decode(), int(label))
                for clip, group, label in zip(*(block[key].numpy() for key in ("clip", "group", "label")), strict=True)
            ]
            bar.update(len(pixels))
    return pd.DataFrame(rows, columns=["clip", "group", "label"]), np.concatenate(probabilities)


def predict_reordered_clips(frames: Path, network: Network, params: Params) -> ReorderedPredictions:
    """Runs the whole classifier on views of test clips with their frames in other orders, made as embed makes them."""
    from pipeline.embedding.views import ViewPlan, read_clip_records, spread_clips, view_dataset
    from pipeline.training.datasets import ViewRecipe
    from pipeline.training.runtime import enable_determinism

    enable_determinism()
    summary = FramesSummary.of(frames)
    clips = spread_clips(read_clip_records(summary.files(frames, "test")), params.evaluate.baseline_clips)
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, summary.classes, params.seed)
    plan = ViewPlan({}, recipe, "test", params.evaluate.views)
    views = [view for clip in clips for view in plan.reordered(clip)]
    probabilities = []
    with progress(total=len(views), describe="evaluating baselines", unit="view") as bar:
        for block in view_dataset(views, recipe).batch(params.speed.inference_batch).prefetch(2):
            probabilities.append(network(block["image"].numpy()))
            bar.update(len(probabilities[-1]))
    each = np.concatenate(probabilities).reshape(len(clips), len(FRAME_ORDERS), -1)
    return ReorderedPredictions(np.array([clip.label for clip in clips]), np.array([clip.group for clip in clips]), each)


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

    # From cached features the network itself is not needed.
    network = None if params.finetune.frozen else open_probabilities(classifier, description, params.speed.engine)

    def predict(split: str) -> tuple[pd.DataFrame, np.ndarray]:
        if network is None:
            return predict_features(embeddings, split, classifier, description)
        return predict_clips(frames, split, network, params)

    metrics, predictions = score_splits(predict, description, params.evaluate, params.seed)
    gain = gain_over_probe(predictions["test"], embeddings, classifier, params.evaluate, params.seed)
    reordered = None
    if params.evaluate.baseline_clips:
        if network is None:
            reordered = predict_reordered_features(embeddings, classifier, description)
        else:
            reordered = predict_reordered_clips(frames, network, params)
    train_clips = FramesSummary.of(frames).splits["train"].per_class
    baselines = measure_baselines(predictions["test"], description.classes, train_clips, reordered, params.evaluate, params.seed)
    return metrics.model_copy(update={"gain_over_probe": gain, "baselines": baselines}), predictions


def show_clips(params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS, classifier: Path = CLASSIFIER) -> None:
    """Writes results/clips from the predictions and suspects that are there: what the report shows of clips."""
    from pipeline.explanation.explain import write_clips

    write_clips(
        SHOWN_CLIPS,
        read_predictions(PREDICTIONS).of("test"),
        read_suspects(SUSPECTS),
        frames=frames,
        embeddings=embeddings,
        classifier=classifier,
        occlusion_clips=params.evaluate.occlusion_clips,
        batch=params.speed.inference_batch,
        engine=params.speed.engine,
    )


def say_baselines(baselines: Baselines) -> None:
    say(f"always the largest class of training, {baselines.largest_class_name}: {baselines.largest_class.top1:.3f}")
    if baselines.one_view is not None:
        say(
            f"one view of {baselines.clips} test clips: {baselines.one_view.top1:.3f}; with one frame repeated "
            f"{baselines.one_frame.top1:.3f}, with the frames shuffled {baselines.shuffled.top1:.3f}"
        )


def say_label_errors(found: LabelErrors) -> None:
    if found.reason:
        say(f"no label was called into question: {found.reason}")
    else:
        say(f"{found.suspects} of {found.judged} labels may be wrong{' (results/suspects.csv)' if found.suspects else ''}")
    if 0 < found.judged < found.clips:
        say(f"{found.clips - found.judged} labels were not judged: their classes have clips of one group only")


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    with tracking.stage_run(params, "evaluate", TRAINING_RUN, RUN) as tracked:
        metrics, predictions = run(params)
        write_predictions(PREDICTIONS, *predictions.values())
        held_out = hold_out(EMBEDDINGS, CLASSIFIER)
        held_out.write(HELD_OUT)
        label_errors, suspects = find_label_errors(EMBEDDINGS, CLASSIFIER, MANIFEST)
        write_suspects(SUSPECTS, suspects)
        metrics = metrics.model_copy(update={"label_errors": label_errors})
        metrics.write(METRICS)
        ScoresSummary.of(metrics).write(SCORES)
        show_clips(params)
        tracked.log_evaluation(metrics, held_out)
        for path in (HELD_OUT, SUSPECTS, PREDICTIONS):
            tracked.log_artifact(path)
        tracking.describe(tracked, metrics)
    test = metrics.test
    interval = "" if test.top1_low is None else f" ({test.top1_low:.3f} to {test.top1_high:.3f})"
    say(f"test top-1 {test.top1:.3f}{interval} on {test.clips} clips of {test.groups} groups")
    per_class = predictions["test"]["actual"].value_counts()
    if per_class.min() < UNBALANCED * per_class.max():
        say(f"the test classes have {per_class.min()} to {per_class.max()} clips: balanced accuracy {test.balanced_accuracy:.3f}")
    say_baselines(metrics.baselines)
    if test.accuracy_when_known is not None:
        say(f"{test.coverage:.1%} of the test clips get a class, {test.accuracy_when_known:.1%} of these the right one")
    if held_out.classes:
        say(f"{held_out.means()['refused']:.1%} of the clips of held-out classes are unknown (results/held_out.json)")
    else:
        say(f"no class was held out: {held_out.reason}")
    say_label_errors(label_errors)


if __name__ == "__main__":
    run_command(main, interrupted=STARTS_OVER)
