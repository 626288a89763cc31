"""Trains the classifier: a head on cached features, or the last blocks or all of the network on the records.

Written: `models/classifier` (the checkpoint in the published layout, its head as head.npz, a SavedModel that takes whole clips,
`classifier.json`),
`models/run.json` (its MLflow run) and `results/history.csv`. A killed run goes on exactly where it was. With
finetune.distribute = multi_worker every machine runs this command, with a TF_CONFIG of its own; one of them, the chief, writes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline import tracking
from pipeline.artifacts import CLASSIFIER, EMBEDDINGS, FRAMES, HISTORY, TRAINING_RUN, is_cached
from pipeline.cluster import software
from pipeline.console import RESUMES, UserError, run_command, say
from pipeline.files import atomic_file, content_key, read_json, resumable_scratch, scratch, sha256
from pipeline.models.movinet.variants import variant_of
from pipeline.params import Finetune, Params, load_params

VERSION = 4  # bump to discard scratch work written by older code


def training_key(params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS) -> str:
    """Key of the scratch folder of a training: other parameters, inputs or TensorFlow versions give another key."""
    import tensorflow as tf

    from pipeline.models.movinet.checkpoints import find_weights, weights_digest

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


def _gpus() -> list[str]:
    """Names of the GPUs that TensorFlow trains on."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in found]


def _check_precision(settings: Finetune) -> None:
    import tensorflow as tf

    if settings.precision != "float32" and settings.trainable == "head":
        raise UserError(
            f"finetune.precision = {settings.precision}, but a head on cached features trains in float32",
            advice="set float32",
        )
    if settings.precision == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        raise UserError("finetune.precision = mixed_float16 needs a GPU, and there is none", advice="set float32")


def run(
    params: Params,
    *,
    folder: Path,
    frames: Path = FRAMES,
    embeddings: Path = EMBEDDINGS,
    out: Path = CLASSIFIER,
    on_epoch: Callable[[pd.DataFrame], None] = lambda history: None,
) -> pd.DataFrame:
    """Trains and writes the classifier to `out`, which appears whole; returns the history.

    Args:
      folder: scratch folder of the training; a training found there is resumed.
      on_epoch: called with the history so far after each epoch.

    Raises:
      UserError: embeddings made for another kind of training, weights that do not fit, a loss that is no longer a number.
    """
    from pipeline.training.replicas import open_replicas, others_may_die
    from pipeline.training.runtime import be_deterministic, start_training_sooner

    be_deterministic()
    start_training_sooner()
    replicas = open_replicas(params.finetune)
    _check_precision(params.finetune)
    head_only = params.finetune.trainable == "head"
    if head_only != is_cached(embeddings):
        raise UserError(f"{embeddings}: not made for finetune.trainable={params.finetune.trainable}", advice="run `dvc repro`")
    if head_only:
        from pipeline.training.head import train_head

        return train_head(params, embeddings, out, folder, on_epoch)
    from pipeline.training.network import train_network

    if replicas is not None:
        replicas.check_agreement(software(), training_key(params, frames=frames, embeddings=embeddings))
    with others_may_die(replicas):
        return train_network(params, frames, out, folder, on_epoch, replicas)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    from pipeline.training.tf_config import is_chief

    if not is_chief(params.finetune):  # it computes its share; the chief keeps, tracks and writes
        run(params, folder=scratch("finetune", training_key(params)))
        say("done: the results are with the chief")
        return
    # The training is forgotten only once all that can fail has succeeded, the tracking server included.
    with (
        resumable_scratch("finetune", training_key(params)) as folder,
        tracking.begin_run(params, TRAINING_RUN, note=folder / "run.json", gpus=_gpus()) as tracked,
    ):
        logged = tracked.logged_epochs()

        def log(history: pd.DataFrame) -> None:
            nonlocal logged
            tracked.log_history(history[history["epoch"] > logged])
            logged = max(logged, len(history))

        history = run(params, folder=folder, on_epoch=log)
        with atomic_file(HISTORY) as part:
            history.to_csv(part, index=False)
        tracking.log_classifier(tracked, CLASSIFIER / "saved_model", read_json(CLASSIFIER / "classifier.json"), params)
    best = history.loc[history["validation_loss"].idxmin()]
    say(f"best of {len(history)} epochs: {int(best['epoch'])}, validation accuracy {best['validation_accuracy']:.3f}")


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
