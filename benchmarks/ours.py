"""This pipeline's own stages on a folder of their own, with the seconds that each takes."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from benchmarks.timing import as_a_fresh_process
from pipeline.files import read_json, resumable_scratch
from pipeline.params import Params
from pipeline.sources.manifest import read_manifest
from stages import download, embed, evaluate, extract, finetune

CLIPS, MANIFEST, FRAMES, EMBEDDINGS, CLASSIFIER = "clips", "manifest.csv", "frames", "embeddings", "classifier"


@contextmanager
def _as_root(work: Path) -> Iterator[None]:
    """The stages keep unfinished work under the repository's root, which DVC_ROOT names."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = str(work)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DVC_ROOT"]
        else:
            os.environ["DVC_ROOT"] = before


def prepare(params: Params, work: Path) -> pd.DataFrame:
    """Links the clips into `work` and divides them; returns the manifest."""
    with _as_root(work):
        return download.run(params.data, params.seed, work / CLIPS, work / MANIFEST).manifest


def found_weights(weights: str, model: str) -> str:
    """`weights`, as model.weights, as something that is on this disk, so that fetching it is never measured."""
    from pipeline.models.movinet.network.variants import VARIANTS
    from pipeline.models.movinet.network.weights.checkpoints import find_weights

    prefix = find_weights(weights, VARIANTS[model])
    return "random" if prefix is None else str(prefix.resolve())


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def extract_clips(params: Params, work: Path) -> float:
    """Seconds of the extract stage; its scratch folder is `work`'s."""
    with _as_root(work):
        return _timed(lambda: extract.run(params.frames, read_manifest(work / MANIFEST), work / CLIPS, work / FRAMES))[0]


def embed_clips(params: Params, work: Path) -> float:
    """Seconds of the embed stage."""
    as_a_fresh_process()
    with _as_root(work):
        return _timed(lambda: embed.run(params, work / FRAMES, work / EMBEDDINGS))[0]


def train_and_evaluate(params: Params, work: Path) -> dict:
    """Trains a head on the features and evaluates it.

    Returns seconds: `finetune` and `evaluate` of the whole stages; `training` of the first without saving the classifier;
    `epoch` of the last epoch; and the test `accuracy`.
    """
    from sklearn.metrics import confusion_matrix

    epochs: list[tuple[float, float]] = []
    start = time.perf_counter()

    def on_epoch(history: pd.DataFrame) -> None:
        epochs.append((time.perf_counter() - start, float(history["seconds"].iloc[-1])))

    def train() -> None:
        with resumable_scratch("finetune", finetune.training_key(params, **folders)) as folder:
            finetune.run(params, folder=folder, **folders, out=work / CLASSIFIER, on_epoch=on_epoch)

    folders = {"frames": work / FRAMES, "embeddings": work / EMBEDDINGS}
    with _as_root(work):
        trained, _ = _timed(train)
        evaluated, (metrics, predictions) = _timed(lambda: evaluate.run(params, **folders, classifier=work / CLASSIFIER))
    test = predictions["test"]
    seconds, _ = _timed(lambda: confusion_matrix(test["actual"], test["predicted"]))
    return {
        "finetune": trained,
        "evaluate": evaluated + seconds,
        "training": epochs[-1][0],
        "epoch": epochs[-1][1],
        "accuracy": metrics["test"]["top1"],
    }


def run_whole(params: Params, work: Path) -> dict:
    """Every stage of the job in turn, from the clips on: what `train_and_evaluate` gives, with `extract`, `embed`, `seconds`."""
    for made in (FRAMES, EMBEDDINGS, CLASSIFIER):
        shutil.rmtree(work / made, ignore_errors=True)
    parts = {"extract": extract_clips(params, work), "embed": embed_clips(params, work), **train_and_evaluate(params, work)}
    return parts | {"seconds": sum(parts[name] for name in ("extract", "embed", "finetune", "evaluate"))}


def _training_views(params: Params, work: Path):
    """An epoch's batches for training the backbone, out of the training clips' records."""
    from pipeline.training.datasets import training_epoch

    summary = read_json(work / FRAMES / "frames.json")
    part = summary["splits"]["train"]
    files = [work / FRAMES / name for name in part["files"]]
    return training_epoch(files, part["clips"], params, summary["classes"], epoch=0)


def read_views(params: Params, work: Path) -> float:
    """Seconds a clip to go through the training clips' records once, as an epoch that trains the backbone does."""
    start = time.perf_counter()
    clips = sum(len(labels) for _, labels in _training_views(params, work))
    return (time.perf_counter() - start) / clips


def input_wait(params: Params, work: Path) -> tuple[float, float]:
    """Seconds that a step which trains the whole network waits for its batch, and that it takes."""
    from benchmarks.networks import Load, fed_step

    load = Load(params.model.id, params.finetune.batch_size, params.frames.count, params.frames.size)
    return fed_step(load, params.finetune, _training_views(params, work))


def bytes_in(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
