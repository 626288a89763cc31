"""Trains the last blocks or the whole network on the records, on one device or on replicas."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.artifacts import STARTING_PROBE, ClassifierDescription, FramesSummary
from pipeline.files import atomic_file
from pipeline.models.family import build_network, build_top, layer_depths, open_probe, plain_network, save_network, set_top
from pipeline.training.balance import class_weights
from pipeline.training.cached_features import read_features
from pipeline.training.calibration import compiled, divide_logits, network_logits
from pipeline.training.contract import Decide, Training
from pipeline.training.datasets import ViewRecipe, training_epoch, validation_views
from pipeline.training.interpolation import interpolate
from pipeline.training.loop import Task, train
from pipeline.training.mixup import mixed_batches
from pipeline.training.outputs import write_classifier
from pipeline.training.probe import fit_probe, probe_inputs
from pipeline.training.top import top_logits

if TYPE_CHECKING:
    from pipeline.training.batch_shards import BatchShard
    from pipeline.training.replicas import Replicas


def _fitted_probe(training: Training, embeddings: Path, classes: int) -> tf_keras.Model:
    """A top whose last layer is a probe; with the same features it is the same in every process."""
    top = build_top(training.model, training.finetune, embeddings, classes, training.seed)
    probe = open_probe(training.model, training.finetune, embeddings, classes, training.seed)
    splits = (probe_inputs(probe, read_features(embeddings, split)) for split in ("train", "validation"))
    *_, layer = fit_probe(*splits, classes, balanced=training.finetune.balance != "none")
    top.layers[-1].set_weights(layer)
    return top


def _save_starting_probe(top: tf_keras.Model, embeddings: Path, decide: Decide, path: Path) -> None:
    """Writes the last layer of the probe, calibrated as the classifier is, so that evaluation can compare the two."""
    validation = read_features(embeddings, "validation")
    temperature = decide(top_logits(top, validation), validation.labels[:, 0]).temperature
    kernel, bias = (values / np.float32(temperature) for values in top.layers[-1].get_weights()[-2:])
    with atomic_file(path) as part, open(part, "wb") as file:
        np.savez(file, kernel=kernel, bias=bias)


def train_network(
    training: Training,
    description: ClassifierDescription,
    recipe: ViewRecipe,
    frames: Path,
    embeddings: Path,
    out: Path,
    decide: Decide,
    replicas: "Replicas | None" = None,
    *,
    inference_batch: int,
) -> pd.DataFrame:
    """Trains on the records in `frames`. Returns the history. The chief writes the calibrated classifier to `out`.

    With `finetune.start = probe` the head starts as a probe on the cached features in `embeddings`, and the classifier lies
    between that start and the trained network (`interpolation`).

    inference_batch: number of views at a time when the validation clips are run for calibration.
    """
    summary, batch_size = FramesSummary.of(frames), training.finetune.batch_size
    train_files, held_out_files = (summary.files(frames, split) for split in ("train", "validation"))
    starts_trained = training.finetune.start == "probe"
    clips, held_out = summary.splits["train"].clips, summary.splits["validation"].clips
    balance, alpha = training.finetune.balance, training.finetune.mixup
    weights = class_weights([summary.splits["train"].per_class.get(name, 0) for name in summary.classes])
    loss_weights, draw_weights = (weights if balance == kind else None for kind in ("weight", "sample"))

    tf_keras.mixed_precision.set_global_policy(training.finetune.precision)
    try:
        with nullcontext() if replicas is None else replicas.strategy.scope():
            network = build_network(training.model, training.finetune, len(summary.classes), training.seed)
            if starts_trained:
                probe = _fitted_probe(training, embeddings, len(summary.classes))
                set_top(training.model, network, probe)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")

    def epoch(number: int, first: int, shard: "BatchShard | None" = None) -> tf.data.Dataset:
        options = {"batch_size": batch_size, "epoch": number, "first": first, "shard": shard, "weights": draw_weights}
        batches = training_epoch(train_files, clips, recipe, **options)
        return mixed_batches(batches, alpha, training.seed, number, first // batch_size) if alpha else batches

    def validation(shard: "BatchShard | None" = None) -> tf.data.Dataset:
        return validation_views(held_out_files, held_out, recipe, batch_size=batch_size, shard=shard)

    if replicas is None:
        task = Task(clips, epoch, validation(), held_out, starts_trained, loss_weights)
    else:
        task = Task(
            clips,
            lambda number, first: replicas.distribute(lambda shard: epoch(number, first, shard)),
            replicas.distribute(validation),
            held_out,
            starts_trained,
            loss_weights,
        )
    writes = replicas is None or replicas.chief
    portable = training.finetune.precision == "float32" and replicas is None
    # The weights before the training, in the order of a plain network.
    start = None
    if starts_trained and writes:
        start = plain_network(training.model, network, len(summary.classes), portable=portable).get_weights()
    history, best_epoch = train(network, task, training, replicas, layer_depths(training.model, network))
    if writes:
        plain = plain_network(training.model, network, len(summary.classes), portable=portable)
        run = compiled(plain)

        def logits_of() -> tuple[np.ndarray, np.ndarray]:
            return network_logits(run, held_out_files, held_out, description.views, recipe.sampling, inference_batch)

        if start is None or best_epoch == 0:
            logits, labels = logits_of()
        else:
            interpolation, logits, labels = interpolate(plain, start, logits_of)
            description = description.model_copy(update={"interpolation": interpolation})
        decision = decide(logits, labels)
        divide_logits(plain, decision.temperature)

        def save(folder: Path) -> int:
            if starts_trained:
                _save_starting_probe(probe, embeddings, decide, folder / STARTING_PROBE)
            return save_network(plain, folder, description)

        write_classifier(out, description, best_epoch, decision, save)
    return history
