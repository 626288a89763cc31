"""Trains the classifier: a top on cached features, or the last blocks or all of the network on the records.

The trained classifier is calibrated, and the threshold of `unknown` is chosen, on the validation clips. Outputs:
`models/classifier` (a SavedModel for whole clips, `classifier.json`, and the family's own files: for a MoViNet the checkpoint in
the published layout), `models/run.json` (the MLflow run) and `results/history.csv`. A killed run resumes from its last
checkpoint, with the same result. With finetune.distribute = multi_worker every machine runs this command with its own
TF_CONFIG; one of them, the chief, writes the outputs.
"""

import argparse
from collections.abc import Callable
from importlib import metadata
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
from pipeline.evaluation.decision import decider
from pipeline.files import atomic_file, content_key, resumable_scratch, scratch, sha256
from pipeline.params import Params, load_params
from pipeline.settings import Finetune

VERSION = 8  # increase it to discard scratch files of older code


def training_key(params: Params, *, frames: Path = FRAMES, embeddings: Path = EMBEDDINGS) -> str:
    """Key of the scratch folder of a training: a digest of its parameters, its inputs and the TensorFlow version."""
    from pipeline.models.family import initial_weights_digest

    parts = [VERSION, metadata.version("tensorflow"), params.seed, params.data.flip, params.evaluate.views]
    parts += [params.finetune.model_dump(), vars(params.sampling), params.model.model_dump(), params.augment.model_dump()]
    features = []
    if params.finetune.needs_features:
        features = [(path.name, sha256(path)) for path in sorted(embeddings.iterdir()) if path.is_file()]
    if params.finetune.frozen:
        return content_key(parts, features)
    summary = FramesSummary.of(frames)
    digests = [sha256(path) for split in ("train", "validation") for path in summary.files(frames, split)]
    return content_key(parts, initial_weights_digest(params.model), digests, features)


def _gpus(finetune: Finetune) -> list[str]:
    """Names of the GPUs that TensorFlow trains on."""
    if finetune.trainable == "probe":
        return []  # without TensorFlow
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def run(
    params: Params,
    *,
    folder: Path,
    frames: Path = FRAMES,
    embeddings: Path = EMBEDDINGS,
    out: Path = CLASSIFIER,
    on_epoch: Callable[[pd.DataFrame], None] = lambda history: None,
) -> pd.DataFrame:
    """Trains and writes the classifier to `out`, atomically; returns the history.

    Args:
      folder: scratch folder. If it holds a checkpoint, the training resumes from it.
      on_epoch: called with the history so far after each epoch.

    Raises:
      UserError: the embeddings are of another kind of training, the weights do not fit, or the loss is not finite.
    """
    from pipeline.training.contract import Training
    from pipeline.training.frozen import train_frozen
    from pipeline.training.outputs import describe_classifier

    if params.finetune.needs_features != is_cached(embeddings):
        message = f"{embeddings}: not made for finetune.trainable={params.finetune.trainable}"
        raise UserError(message, advice="run `dvc repro`")
    summary = FramesSummary.of(frames)
    description = describe_classifier(params.model, params.finetune, params.frames, params.evaluate.views, summary.classes)
    decide_on = decider(params.finetune, params.data.background, summary)
    training = Training(params.model, params.finetune, params.seed, folder, params.speed.checkpoint_minutes, on_epoch)
    if params.finetune.frozen:
        return train_frozen(training, description, embeddings, out, decide_on)
    from pipeline.training.datasets import ViewRecipe
    from pipeline.training.network import train_network
    from pipeline.training.replicas import check_precision, convert_worker_errors, open_replicas
    from pipeline.training.runtime import disable_grappler_on_cpu, enable_determinism, keep_memory_on_cpu, start_xla

    keep_memory_on_cpu()
    enable_determinism()
    disable_grappler_on_cpu()
    start_xla()
    replicas = open_replicas(params.finetune)
    check_precision(params.finetune)
    if replicas is not None:
        replicas.check_agreement(software(), training_key(params, frames=frames, embeddings=embeddings))
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, summary.classes, params.seed)
    batch = params.speed.inference_batch
    with convert_worker_errors(replicas):
        return train_network(training, description, recipe, frames, embeddings, out, decide_on, replicas, inference_batch=batch)


def write_history(history: pd.DataFrame) -> None:
    with atomic_file(HISTORY) as part:
        history.to_csv(part, index=False)


def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.finetune", description=__doc__.splitlines()[0]).parse_args()
    params = load_params()
    from pipeline.training.tf_config import is_chief

    if not is_chief(params.finetune):  # only the chief tracks the training and writes the outputs
        run(params, folder=scratch("finetune", training_key(params)))
        say("done: the chief writes the results")
        return
    # The scratch folder is removed only after everything that can fail has succeeded, including the tracking server.
    with (
        resumable_scratch("finetune", training_key(params)) as folder,
        tracking.begin_run(params, TRAINING_RUN, note=folder / "run.json", gpus=_gpus(params.finetune)) as tracked,
    ):
        logged = tracked.logged_epochs()

        def log_new_epochs(history: pd.DataFrame) -> None:
            nonlocal logged
            write_history(history)  # `dvc plots show` draws a training that is under way
            tracked.log_history(history[history["epoch"] > logged])
            logged = max(logged, int(history["epoch"].max()))

        history = run(params, folder=folder, on_epoch=log_new_epochs)
        write_history(history)
        description = ClassifierDescription.of(CLASSIFIER)
        tracked.log_metrics({"decision": description.decision.model_dump()})
        tracking.log_classifier(tracked, CLASSIFIER / "saved_model", description, params)
    best = history.loc[history["validation_loss"].idxmin()]
    tried = "penalties" if "penalty" in history else "epochs"
    say(f"best of {len(history)} {tried}: {int(best['epoch'])}, validation accuracy {best['validation_accuracy']:.3f}")


if __name__ == "__main__":
    run_command(main, interrupted=RESUMES)
