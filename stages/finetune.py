"""Trains the classifier: a head on cached features, or the last blocks or all of the network on the records.

Written: `models/classifier` (the checkpoint in the published layout, a SavedModel that takes whole clips, `classifier.json`),
`models/run.json` (its MLflow run) and `results/history.csv`. A killed run goes on exactly where it was.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from stages import tracking
from stages.console import UserError, run_command, say
from stages.embed import EMBEDDINGS, FRAMES, is_cached
from stages.files import content_key, read_json, scratch, sha256, whole_file, whole_folder, write_json
from stages.params import Params, load_params

CLASSIFIER = Path("models/classifier")
RUN_FILE = Path("models/run.json")
HISTORY_FILE = Path("results/history.csv")


def _description(params: Params, classes: list[str], best_epoch: int, activation: str) -> dict:
    """What evaluate, predict and export must know of a classifier to feed it."""
    return {
        "classes": classes,
        "model": params.model.id,
        "activation": activation,
        "trainable": params.finetune.trainable,
        "best_epoch": best_epoch,
        "fps": params.frames.fps,
        "size": params.frames.size,
        "count": params.frames.count,
        "views": params.evaluate.views,
    }


def _scratch_folder(params: Params, *inputs: Path) -> Path:
    """Where this very training is kept while unfinished: another parameter or input, another folder."""
    settings = params.finetune.model_dump(exclude={"checkpoint_minutes"})
    parts = [
        params.seed,
        params.data.flip,
        params.frames.model_dump(),
        params.model.model_dump(),
        params.augment.model_dump(),
        settings,
    ]
    return scratch("finetune", content_key(parts, [sha256(path) for path in sorted(inputs)]))


def train_head(params: Params, embeddings: Path, out: Path, on_epoch) -> pd.DataFrame:
    """Trains a head on the cached features in `embeddings`; the trunk is only copied. Returns the history."""
    import tensorflow as tf

    from stages.movinet.checkpoints import replace_values
    from stages.movinet.head import build_head, head_checkpoint_values, read_head, values_of
    from stages.movinet.serving import Classifier, save_classifier
    from stages.training.datasets import feature_epoch
    from stages.training.loop import Task, train

    made = read_json(embeddings / "embed.json")
    classes = made["classes"]
    arrays = {
        split: (np.load(embeddings / f"{split}.npy"), np.load(embeddings / f"{split}_labels.npy"))
        for split in ("train", "validation")
    }
    features, labels = arrays["train"][0].reshape(-1, made["features"]), arrays["train"][1].reshape(-1)
    middle = arrays["validation"][0].shape[1] // 2
    validation = arrays["validation"][0][:, middle], arrays["validation"][1][:, middle]

    settings = params.finetune
    head = build_head(
        made["features"],
        len(classes),
        activation=made["activation"],
        dropout=made["dropout"] if settings.dropout is None else settings.dropout,
        seed=params.seed,
    )
    if settings.reuse_projection:
        start = read_head(embeddings / "ckpt-1")
        head.get_layer("projection").set_weights([start.projection, start.projection_bias])
    task = Task(
        examples=len(features),
        epoch=lambda epoch, first: feature_epoch(
            features, labels, len(classes), batch_size=settings.batch_size, seed=params.seed, epoch=epoch, first=first
        ),
        validation=feature_batches(*validation, len(classes), settings.batch_size),
    )
    folder = _scratch_folder(params, *(embeddings / f"{split}.npy" for split in arrays), embeddings / "ckpt-1.index")
    history, best_epoch = train(head, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch)

    values = values_of(head)
    with whole_folder(out) as part:
        source = embeddings / "ckpt-1"
        replace_values(source, part / "ckpt-1", head_checkpoint_values(source, values))
        trunk = tf.saved_model.load(str(embeddings / "trunk"))
        classifier = Classifier(
            trunk,
            values,
            activation=made["activation"],
            count=params.frames.count,
            views=params.evaluate.views,
            size=params.frames.size,
        )
        save_classifier(classifier, part / "saved_model")
        write_json(part / "classifier.json", _description(params, classes, best_epoch, made["activation"]))
    shutil.rmtree(folder)
    return history


def feature_batches(features: np.ndarray, labels: np.ndarray, num_classes: int, batch_size: int):
    """Cached features in their own order: (float32 (B, P), one-hot float32 (B, classes))."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((features, np.eye(num_classes, dtype=np.float32)[labels])).batch(batch_size)


def train_network(params: Params, frames: Path, out: Path, on_epoch) -> pd.DataFrame:
    """Trains the last blocks or the whole network on the records in `frames`. Returns the history."""
    import tensorflow as tf
    import tf_keras

    from stages.movinet.build import freeze
    from stages.movinet.classifier import initial_classifier, variant_of
    from stages.movinet.head import read_head
    from stages.movinet.serving import Classifier, Trunk, save_classifier
    from stages.training.datasets import training_epoch, validation_views
    from stages.training.loop import Task, train

    settings = params.finetune
    summary = read_json(frames / "frames.json")
    classes = summary["classes"]
    files = {split: [frames / name for name in part["files"]] for split, part in summary["splits"].items()}
    variant = variant_of(params.model)

    tf_keras.mixed_precision.set_global_policy(settings.precision)
    train_batch_norm = settings.batch_norm == "trained" or (settings.batch_norm == "auto" and params.model.weights == "random")
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
    blocks = settings.blocks if settings.trainable == "last_blocks" else None
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
    folder = _scratch_folder(params, *files["train"], *files["validation"])
    history, best_epoch = train(classifier, task, settings, seed=params.seed, folder=folder, on_epoch=on_epoch)

    with whole_folder(out) as part:
        tf.train.Checkpoint(model=classifier).write(str(part / "ckpt-1"))
        (part / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n')
        served = Classifier(
            Trunk(classifier.backbone, variant.features),
            read_head(part / "ckpt-1"),
            activation=variant.activation,
            count=params.frames.count,
            views=params.evaluate.views,
            size=params.frames.size,
        )
        save_classifier(served, part / "saved_model")
        write_json(part / "classifier.json", _description(params, classes, best_epoch, variant.activation))
    shutil.rmtree(folder)
    return history


def run(
    params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS, out: Path = CLASSIFIER, on_epoch=lambda row: None
):
    """Trains and writes the classifier to `out`, which appears whole; returns the history.

    Args:
      on_epoch: called with each finished epoch's row of the history.

    Raises:
      UserError: embeddings made for another kind of training, weights that do not fit, a loss that is no longer a number.
    """
    from stages.training.runtime import be_deterministic, start_training_sooner

    be_deterministic()
    start_training_sooner()
    head_only = params.finetune.trainable == "head"
    if head_only != is_cached(embeddings):
        raise UserError(f"{embeddings}: not made for finetune.trainable={params.finetune.trainable}; run `dvc repro`")
    if head_only:
        return train_head(params, embeddings, out, on_epoch)
    return train_network(params, frames, out, on_epoch)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    with tracking.begin_run(params, RUN_FILE) as tracked:
        history = run(params, on_epoch=lambda row: tracked.log_history(pd.DataFrame([row])))
        with whole_file(HISTORY_FILE) as part:
            history.to_csv(part, index=False)
        tracking.log_classifier(tracked, CLASSIFIER / "saved_model", read_json(CLASSIFIER / "classifier.json"), params)
    best = history.loc[history["validation_loss"].idxmin()]
    say(f"best of {len(history)} epochs: {int(best['epoch'])}, validation accuracy {best['validation_accuracy']:.3f}")


if __name__ == "__main__":
    run_command(main)
