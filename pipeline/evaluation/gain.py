"""What training a backbone gains over the linear probe that the training started from, on the same test clips."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from pipeline.artifacts import STARTING_PROBE, ClassifierDescription, Gain
from pipeline.evaluation.bootstrap import paired_difference
from pipeline.evaluation.log_loss import log_losses
from pipeline.models.family import probe_features
from pipeline.settings import Evaluate
from pipeline.training.cached_features import read_features


def gain_over_probe(test: pd.DataFrame, embeddings: Path, classifier: Path, evaluate: Evaluate, seed: int) -> Gain | None:
    """The classifier's test scores less those of its starting probe, with paired intervals; None if it started from none.

    test: the classifier's predictions for the test clips, as `predictions_frame` makes them, sorted by clip.

    Raises:
      ValueError: `embeddings` are of other clips.
    """
    if not (classifier / STARTING_PROBE).exists():
        return None
    cached, description = read_features(embeddings, "test"), ClassifierDescription.of(classifier)
    flat = cached.flat()
    with np.load(classifier / STARTING_PROBE) as probe:
        logits = probe_features(embeddings, description, flat.features, flat.mask) @ probe["kernel"] + probe["bias"]
    clips = pd.read_csv(embeddings / "test.csv", dtype=str, keep_default_na=False)["clip"].to_numpy()
    order = np.argsort(clips)
    if test["clip"].tolist() != clips[order].tolist():
        raise ValueError(f"{embeddings}: not of the test clips that were evaluated")
    of_probe = softmax(logits, axis=-1).reshape(*cached.labels.shape, -1).mean(axis=1)[order]
    own = test.iloc[:, -len(description.classes) :].to_numpy()  # the columns of probabilities, in label order
    labels, groups = cached.labels[order, 0], test["group"].to_numpy()
    settings = {"resamples": evaluate.bootstrap, "confidence": evaluate.confidence, "seed": seed}
    right, probe_right = (each.argmax(axis=1) == labels for each in (own, of_probe))
    losses, probe_losses = (log_losses(each, labels) for each in (own, of_probe))
    top1 = paired_difference(right, probe_right, groups, **settings)
    log_loss = paired_difference(losses, probe_losses, groups, **settings)
    return Gain(
        probe_top1=float(probe_right.mean()),
        probe_log_loss=float(probe_losses.mean()),
        top1=top1.value,
        top1_low=top1.low,
        top1_high=top1.high,
        log_loss=log_loss.value,
        log_loss_low=log_loss.low,
        log_loss_high=log_loss.high,
    )
