"""The last blocks or the whole network trained on the records, on one device or on replicas."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf
import tf_keras

from pipeline.console import UserError
from pipeline.files import read_json
from pipeline.models.movinet.build import build_backbone, build_classifier, freeze
from pipeline.models.movinet.checkpoints import variable_keys
from pipeline.models.movinet.classifier import initial_classifier
from pipeline.models.movinet.head_values import load_head
from pipeline.models.movinet.serving import Classifier, FrozenBackbone, save_classifier
from pipeline.models.movinet.variants import variant_of
from pipeline.params import Params
from pipeline.training.datasets import training_epoch, validation_views
from pipeline.training.loop import OnEpoch, Task, train
from pipeline.training.outputs import write_classifier

if TYPE_CHECKING:
    from pipeline.training.batch_shards import BatchShard
    from pipeline.training.replicas import Replicas


def train_network(
    params: Params, frames: Path, out: Path, folder: Path, on_epoch: OnEpoch, replicas: "Replicas | None" = None
) -> pd.DataFrame:
    """Trains the last blocks or the whole network on the records in `frames`. Returns the history."""
    settings = params.finetune
    summary = read_json(frames / "frames.json")
    classes = summary["classes"]
    files = {split: [frames / name for name in part["files"]] for split, part in summary["splits"].items()}
    variant = variant_of(params.model)

    tf_keras.mixed_precision.set_global_policy(settings.precision)
    try:
        with nullcontext() if replicas is None else replicas.strategy.scope():
            classifier, _ = initial_classifier(
                params.model,
                len(classes),
                seed=params.seed,
                reuse_projection=settings.reuse_projection,
                stochastic_depth=settings.stochastic_depth,
                batch_norm_momentum=settings.batch_norm_momentum,
                dropout=settings.dropout,
                rezero=settings.rezero,
            )
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    blocks = settings.blocks if settings.trainable == "last_blocks" else None
    train_batch_norm = settings.batch_norm == "trained" or (settings.batch_norm == "auto" and params.model.weights == "random")
    try:
        freeze(classifier.backbone, trainable_blocks=blocks, batch_norm=train_batch_norm)
    except ValueError as error:
        raise UserError(str(error)) from None
    clips, held_out = (summary["splits"][split]["clips"] for split in ("train", "validation"))

    def epoch(number: int, first: int, share: "BatchShard | None" = None) -> tf.data.Dataset:
        return training_epoch(files["train"], clips, params, classes, epoch=number, first=first, share=share)

    def validation(share: "BatchShard | None" = None) -> tf.data.Dataset:
        return validation_views(files["validation"], held_out, params, classes, share=share)

    if replicas is None:
        task = Task(clips, epoch, validation(), held_out)
    else:
        task = Task(
            clips,
            lambda number, first: replicas.distribute(lambda share: epoch(number, first, share)),
            replicas.distribute(validation),
            held_out,
        )
    history, best_epoch = train(classifier, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch, replicas=replicas)

    # What is kept has no optimizer in its checkpoint, and computes in float32, on any machine.
    convolutions = params.model.convolutions
    same = settings.precision == "float32" and replicas is None
    backbone = classifier.backbone if same else build_backbone(variant, convolutions=convolutions)
    plain = build_classifier(variant, backbone, len(classes), convolutions=convolutions)
    trained = variable_keys(model=classifier)
    for key, variable in variable_keys(model=plain).items():
        variable.assign(trained[key])
    if replicas is not None and not replicas.chief:
        return history
    checkpoint = tf.train.Checkpoint(model=plain)
    count, size, views = params.frames.count, params.frames.size, params.evaluate.views

    def write_saved_model(target: Path) -> None:
        backbone = FrozenBackbone(plain.backbone, variant.features, count=count, size=size)
        head = load_head(target.parent / "head.npz")
        save_classifier(Classifier(backbone, head, activation=variant.activation, count=count, views=views, size=size), target)

    def write_checkpoint(prefix: Path) -> None:
        checkpoint.write(str(prefix))

    write_classifier(out, params, classes, variant, best_epoch, write_checkpoint, write_saved_model)
    return history
