"""Trains the classifier: a head on cached features, or the last blocks or all of the network on the records.

Written: `models/classifier` (the checkpoint in the published layout, a SavedModel that takes whole clips, `classifier.json`),
`models/run.json` (its MLflow run) and `results/history.csv`. A killed run goes on exactly where it was.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stages import tracking
from stages.console import UserError, run_command, say
from stages.embed import EMBEDDINGS, FRAMES, is_cached
from stages.files import content_key, read_json, sha256, unfinished, whole_file, whole_folder, write_json
from stages.movinet.variants import Variant, variant_of
from stages.params import Finetune, Params, load_params

CLASSIFIER = Path("models/classifier")
RUN_FILE = Path("models/run.json")
HISTORY_FILE = Path("results/history.csv")
VERSION = 1  # of the training's code; another one makes what an older code left unfinished worthless

OnEpoch = Callable[[pd.DataFrame], None]


def training_key(params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS) -> str:
    """What an unfinished training is kept under: with another parameter, input or TensorFlow it is another training."""
    import tensorflow as tf

    from stages.movinet.checkpoints import find_weights, weights_digest

    settings = params.finetune.model_dump(exclude={"checkpoint_minutes"})
    parts = [VERSION, tf.__version__, params.seed, params.data.flip, params.evaluate.views, settings]
    parts += [params.frames.count, params.frames.size, params.model.model_dump(), params.augment.model_dump()]
    if params.finetune.trainable == "head":
        names = ["embed.json"]
        if is_cached(embeddings):
            names += ["ckpt-1.index", "ckpt-1.data-00000-of-00001"]
            names += [f"{split}{part}.npy" for split in ("train", "validation") for part in ("", "_labels")]
        return content_key(parts, [sha256(embeddings / name) for name in names])
    files = read_json(frames / "frames.json")["splits"]
    digests = [sha256(frames / name) for split in ("train", "validation") for name in files[split]["files"]]
    return content_key(parts, weights_digest(find_weights(params.model.weights, variant_of(params.model))), digests)


def _write_classifier(out: Path, params: Params, classes: list[str], variant: Variant, best_epoch: int, write_checkpoint, trunk):
    """Writes the classifier's folder, whole: the checkpoint, the SavedModel, and what one must know to feed it.

    Args:
      write_checkpoint: given a prefix, writes the checkpoint there.
      trunk: what has `features`.
    """
    from stages.movinet.head import read_head
    from stages.movinet.serving import Classifier, save_classifier

    views, count, size = params.evaluate.views, params.frames.count, params.frames.size
    with whole_folder(out) as part:
        write_checkpoint(part / "ckpt-1")
        (part / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n')
        head = read_head(part / "ckpt-1")
        served = Classifier(trunk, head, activation=variant.activation, count=count, views=views, size=size)
        save_classifier(served, part / "saved_model")
        description = {
            "classes": classes,
            "model": params.model.id,
            "activation": variant.activation,
            "trainable": params.finetune.trainable,
            "best_epoch": best_epoch,
            "fps": params.frames.fps,
            "size": size,
            "count": count,
            "views": views,
        }
        write_json(part / "classifier.json", description)


def train_head(params: Params, embeddings: Path, out: Path, folder: Path, on_epoch: OnEpoch) -> pd.DataFrame:
    """Trains a head on the cached features in `embeddings`; the trunk is only copied. Returns the history."""
    import tensorflow as tf

    from stages.movinet.checkpoints import replace_values
    from stages.movinet.head import build_head, head_checkpoint_values, read_head, values_of
    from stages.training.datasets import feature_epoch
    from stages.training.loop import Task, train

    made = read_json(embeddings / "embed.json")
    classes, settings = made["classes"], params.finetune
    features = tf.constant(np.load(embeddings / "train.npy").reshape(-1, made["features"]))
    labels = tf.constant(np.load(embeddings / "train_labels.npy").reshape(-1))
    held_out, held_out_labels = np.load(embeddings / "validation.npy"), np.load(embeddings / "validation_labels.npy")
    middle = held_out.shape[1] // 2
    one_hot = np.eye(len(classes), dtype=np.float32)[held_out_labels[:, middle]]

    head = build_head(
        made["features"],
        len(classes),
        activation=made["activation"],
        dropout=made["dropout"] if settings.dropout is None else settings.dropout,
        seed=params.seed,
    )
    start = read_head(embeddings / "ckpt-1")
    if settings.reuse_projection:
        head.get_layer("projection").set_weights([start.projection, start.projection_bias])
    task = Task(
        examples=int(features.shape[0]),
        epoch=lambda epoch, first: feature_epoch(
            features, labels, len(classes), batch_size=settings.batch_size, seed=params.seed, epoch=epoch, first=first
        ),
        validation=tf.data.Dataset.from_tensor_slices((held_out[:, middle], one_hot)).batch(settings.batch_size),
    )
    history, best_epoch = train(head, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch)

    def write_checkpoint(prefix: Path) -> None:
        source = embeddings / "ckpt-1"
        replace_values(source, prefix, head_checkpoint_values(source, values_of(head)))

    trunk = tf.saved_model.load(str(embeddings / "trunk"))
    _write_classifier(out, params, classes, variant_of(params.model), best_epoch, write_checkpoint, trunk)
    return history


def train_network(params: Params, frames: Path, out: Path, folder: Path, on_epoch: OnEpoch) -> pd.DataFrame:
    """Trains the last blocks or the whole network on the records in `frames`. Returns the history."""
    import tensorflow as tf
    import tf_keras

    from stages.movinet.build import build_backbone, build_classifier, freeze
    from stages.movinet.checkpoints import variable_keys
    from stages.movinet.classifier import initial_classifier
    from stages.movinet.serving import Trunk
    from stages.training.datasets import training_epoch, validation_views
    from stages.training.loop import Task, train

    settings = params.finetune
    summary = read_json(frames / "frames.json")
    classes = summary["classes"]
    files = {split: [frames / name for name in part["files"]] for split, part in summary["splits"].items()}
    variant = variant_of(params.model)

    tf_keras.mixed_precision.set_global_policy(settings.precision)
    try:
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
    clips = summary["splits"]["train"]["clips"]
    task = Task(
        examples=clips,
        epoch=lambda epoch, first: training_epoch(files["train"], clips, params, classes, epoch=epoch, first=first),
        validation=validation_views(files["validation"], params, classes),
    )
    history, best_epoch = train(classifier, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch)

    # What is kept has no optimizer in its checkpoint, and computes in float32, on any machine.
    convolutions = params.model.convolutions
    same = settings.precision == "float32"
    backbone = classifier.backbone if same else build_backbone(variant, convolutions=convolutions)
    plain = build_classifier(variant, backbone, len(classes), convolutions=convolutions)
    trained = variable_keys(model=classifier)
    for key, variable in variable_keys(model=plain).items():
        variable.assign(trained[key])
    checkpoint = tf.train.Checkpoint(model=plain)
    trunk = Trunk(plain.backbone, variant.features)
    _write_classifier(out, params, classes, variant, best_epoch, lambda prefix: checkpoint.write(str(prefix)), trunk)
    return history


def _check_precision(settings: Finetune) -> None:
    import tensorflow as tf

    if settings.precision != "float32" and settings.trainable == "head":
        raise UserError(
            f"finetune.precision = {settings.precision}, but a head on cached features trains in float32; set float32"
        )
    if settings.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        raise UserError("finetune.precision = mixed_float16 needs a GPU, and there is none; set float32")


def run(
    params: Params,
    *,
    folder: Path,
    frames: Path = FRAMES,
    embeddings: Path = EMBEDDINGS,
    out: Path = CLASSIFIER,
    on_epoch: OnEpoch = lambda history: None,
) -> pd.DataFrame:
    """Trains and writes the classifier to `out`, which appears whole; returns the history.

    Args:
      folder: where the training is kept while unfinished; one found there is gone on from.
      on_epoch: called with the history so far after each epoch.

    Raises:
      UserError: embeddings made for another kind of training, weights that do not fit, a loss that is no longer a number.
    """
    from stages.training.runtime import be_deterministic, start_training_sooner

    be_deterministic()
    start_training_sooner()
    _check_precision(params.finetune)
    head_only = params.finetune.trainable == "head"
    if head_only != is_cached(embeddings):
        raise UserError(f"{embeddings}: not made for finetune.trainable={params.finetune.trainable}; run `dvc repro`")
    if head_only:
        return train_head(params, embeddings, out, folder, on_epoch)
    return train_network(params, frames, out, folder, on_epoch)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    # The training is forgotten only once all that can fail has succeeded, the tracking server included.
    with (
        unfinished("finetune", training_key(params)) as folder,
        tracking.begin_run(params, RUN_FILE, note=folder / "run.json") as tracked,
    ):
        logged = tracked.logged_epochs()

        def log(history: pd.DataFrame) -> None:
            nonlocal logged
            tracked.log_history(history[history["epoch"] > logged])
            logged = max(logged, len(history))

        history = run(params, folder=folder, on_epoch=log)
        with whole_file(HISTORY_FILE) as part:
            history.to_csv(part, index=False)
        tracking.log_classifier(tracked, CLASSIFIER / "saved_model", read_json(CLASSIFIER / "classifier.json"), params)
    best = history.loc[history["validation_loss"].idxmin()]
    say(f"best of {len(history)} epochs: {int(best['epoch'])}, validation accuracy {best['validation_accuracy']:.3f}")


if __name__ == "__main__":
    run_command(main)
