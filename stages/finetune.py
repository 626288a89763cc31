"""Trains the classifier: a top on cached features, or the last blocks or all of the network on the records.

Written: `models/classifier` (a SavedModel that takes whole clips, `classifier.json`, and the family's own files: of a MoViNet the
checkpoint in the published layout), `models/run.json` (its MLflow run) and `results/history.csv`. A killed run resumes exactly
where it was. With finetune.distribute = multi_worker every machine runs this command, with a TF_CONFIG of its own; one of them,
the chief, writes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from pipeline import tracking
from pipeline.artifacts import (
    CLASSIFIER,
    EMBEDDINGS,
    FRAMES,
    HISTORY,
    TRAINING_RUN,
    ClassifierDescription,
    FramesSummary,
    is_cached,
)
from pipeline.cluster import software
from pipeline.console import RESUMES, UserError, run_command, say
from pipeline.files import atomic_file, content_key, resumable_scratch, scratch, sha256
from pipeline.params import Params, load_params
from pipeline.settings import Finetune

VERSION = 5  # bump to discard scratch work written by older code


def training_key(params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS) -> str:
    """Key of the scratch folder of a training: other parameters, inputs or TensorFlow versions give another key."""
    import tensorflow as tf

    from pipeline.models.family import initial_weights_digest

    parts = [VERSION, tf.__version__, params.seed, params.data.flip, params.evaluate.views, params.finetune.model_dump()]
    parts += [vars(params.sampling), params.model.model_dump(), params.augment.model_dump()]
    if params.finetune.trainable == "head":
        names = ["embed.json"]
        if is_cached(embeddings):
            names += [file.name for file in embeddings.glob("ckpt-1.*")]
            names += [file.name for split in ("train", "validation") for file in embeddings.glob(f"{split}*.npy")]
        return content_key(parts, [(name, sha256(embeddings / name)) for name in sorted(names)])
    summary = FramesSummary.of(frames)
    digests = [sha256(path) for split in ("train", "validation") for path in summary.files(frames, split)]
    return content_key(parts, initial_weights_digest(params.model), digests)


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
    from pipeline.training.loop import Training
    from pipeline.training.replicas import open_replicas, others_may_die
    from pipeline.training.runtime import be_deterministic, start_training_sooner

    be_deterministic()
    start_training_sooner()
    replicas = open_replicas(params.finetune)
    _check_precision(params.finetune)
    head_only = params.finetune.trainable == "head"
    if head_only != is_cached(embeddings):
        message = f"{embeddings}: not made for finetune.trainable={params.finetune.trainable}"
        raise UserError(message, advice="run `dvc repro`")
    classes = FramesSummary.of(frames).classes
    description = ClassifierDescription(
        classes=classes,
        family=params.model.family,
        model=params.model.id,
        settings=params.model.model_dump(),
        trainable=params.finetune.trainable,
        fps=params.frames.fps,
        size=params.frames.size,
        count=params.frames.count,
        views=params.evaluate.views,
        sampling=params.frames.sampling,
        short_clips=params.model.short_clips,
        activation=params.model.activation,
    )
    how = Training(params.model, params.finetune, params.seed, folder, params.speed.checkpoint_minutes, on_epoch)
    if head_only:
        from pipeline.training.top import train_top

        return train_top(how, description, embeddings, out)
    from pipeline.training.datasets import ViewRecipe
    from pipeline.training.network import train_network

    if replicas is not None:
        replicas.check_agreement(software(), training_key(params, frames=frames, embeddings=embeddings))
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, classes, params.seed)
    with others_may_die(replicas):
        return train_network(how, description, recipe, frames, out, replicas)


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
        tracking.log_classifier(tracked, CLASSIFIER / "saved_model", ClassifierDescription.of(CLASSIFIER), params)
    best = history.loc[history["validation_loss"].idxmin()]
    say(f"best of {len(history)} epochs: {int(best['epoch'])}, validation accuracy {best['validation_accuracy']:.3f}")


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
