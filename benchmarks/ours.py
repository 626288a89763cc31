"""This pipeline's own stages in a folder of their own, with the seconds that each takes."""

import shutil
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pandas as pd

from benchmarks.networks import Load, build_random, fed_step, restore_inference_optimizer
from pipeline.artifacts import CLASSIFIER, CLIPS, EMBEDDINGS, FRAMES, MANIFEST, FramesSummary
from pipeline.files import resumable_scratch
from pipeline.params import Params
from pipeline.sources.manifest import read_manifest
from stages import download, embed, evaluate, extract, finetune


def _timed(folder: Path, work: Callable[[], object]) -> float:
    """Seconds of some work; stages keep unfinished work under the current folder."""
    start = time.perf_counter()
    with chdir(folder):
        work()
    return time.perf_counter() - start


def place_clips(params: Params, folder: Path) -> pd.DataFrame:
    """Links the clips into `folder` and divides them into splits; returns the manifest."""
    return download.run(params.data, params.seed, params.speed, folder / CLIPS, folder / MANIFEST).manifest


def locate_weights(weights: str, model: str, folder: Path) -> str:
    """The prefix of a checkpoint on this disk with `weights`, as model.weights, so that fetching it is never measured.

    Random ones are written to `folder` as the published ones are, so that both ways restore a checkpoint, as users do.
    """
    import tensorflow as tf

    from pipeline.models.movinet.network.variants import VARIANTS
    from pipeline.models.movinet.network.weights.finding import find_weights

    prefix = find_weights(weights, VARIANTS[model])
    if prefix is not None:
        return str(prefix.resolve())
    return tf.train.Checkpoint(model=build_random(model, "stock")).write(str(folder.resolve() / "random" / "ckpt-1"))


def extract_clips(params: Params, folder: Path, workers: int | None = None) -> float:
    """Seconds of the extract stage. workers: decoding processes; None: one a core."""
    manifest = read_manifest(folder / MANIFEST)
    return _timed(folder, lambda: extract.run(params.frames, manifest, folder / CLIPS, folder / FRAMES, workers))


def embed_clips(params: Params, folder: Path) -> float:
    """Seconds of the embed stage, which finds neither features nor networks of an earlier round."""
    for kept in ("features", "embed"):
        shutil.rmtree(folder / ".cache" / kept, ignore_errors=True)
    restore_inference_optimizer()
    return _timed(folder, lambda: embed.run(params, folder / FRAMES, folder / EMBEDDINGS))


def train_and_evaluate(params: Params, folder: Path) -> dict[str, float]:
    """Trains a head on the features and evaluates it.

    Returns seconds: `finetune` and `evaluate` of the whole stages; `training` of the first without saving the classifier;
    `epoch` of the last epoch; and the test `accuracy`.
    """
    from sklearn.metrics import confusion_matrix

    inputs, classifier = {"frames": folder / FRAMES, "embeddings": folder / EMBEDDINGS}, folder / CLASSIFIER
    found: dict[str, float] = {}
    start = time.perf_counter()

    def on_epoch(history: pd.DataFrame) -> None:
        found.update(training=time.perf_counter() - start, epoch=float(history["seconds"].iloc[-1]))

    def train() -> None:
        with resumable_scratch("finetune", finetune.training_key(params, **inputs)) as scratch:
            finetune.run(params, folder=scratch, **inputs, out=classifier, on_epoch=on_epoch)

    def test() -> None:
        metrics, predictions = evaluate.run(params, **inputs, classifier=classifier)
        confusion_matrix(predictions["test"]["actual"], predictions["test"]["predicted"])
        found["accuracy"] = metrics.test.top1

    found["finetune"] = _timed(folder, train)
    found["evaluate"] = _timed(folder, test)
    return found


def run_whole(params: Params, folder: Path) -> dict[str, float]:
    """Every stage of the job from the clips on: what `train_and_evaluate` gives, `extract`, `embed`, and the sum, `seconds`."""
    for made in (FRAMES, EMBEDDINGS, CLASSIFIER):
        shutil.rmtree(folder / made, ignore_errors=True)
    parts = {"extract": extract_clips(params, folder), "embed": embed_clips(params, folder), **train_and_evaluate(params, folder)}
    return parts | {"seconds": sum(parts[name] for name in ("extract", "embed", "finetune", "evaluate"))}


def _training_views(params: Params, folder: Path):
    """An epoch's batches for training the backbone, out of the training clips' records."""
    from pipeline.training.datasets import ViewRecipe, training_epoch

    summary = FramesSummary.of(folder / FRAMES)
    recipe = ViewRecipe(params.sampling, params.augment, params.data.flip, summary.classes, params.seed)
    files = summary.files(folder / FRAMES, "train")
    return training_epoch(files, summary.splits["train"].clips, recipe, batch_size=params.finetune.batch_size, epoch=0)


def read_views(params: Params, folder: Path) -> float:
    """Seconds a clip to read the training clips' records once, as an epoch that trains the backbone does."""
    start = time.perf_counter()
    clips = sum(len(labels) for _, labels in _training_views(params, folder))
    return (time.perf_counter() - start) / clips


def input_wait(params: Params, folder: Path) -> tuple[float, float]:
    """Seconds that a step which trains the whole network waits for its batch, and that it takes."""
    load = Load(params.model.id, params.finetune.batch_size, params.frames.count, params.frames.size)
    return fed_step(load, params.finetune, _training_views(params, folder))
