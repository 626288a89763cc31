"""The rows of a split in chunks for the workers of a cluster, each written to the scratch folder whole.

Invariants: the rows are bitwise those of one process on the same kind of machine. For that a worker runs the backbone on the
batches that one process makes (chunks begin at multiples of the batch), and views follow from a clip's position in the split.
A killed run resumes: finished chunks are not computed again, and rows that one process had finished count too.
"""

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cluster import Call, Workers
from pipeline.console import progress
from pipeline.embedding.record_positions import RecordPosition, clip_positions, read_record
from pipeline.files import atomic_file
from pipeline.params import Params

CHUNK = 32  # clips, about: tens of seconds of work, which is also what a killed worker loses
AHEAD = 2  # chunks a thread of the cluster, so that a worker finds its next one waiting
SAVE_EVERY = 30.0  # seconds between notes of how far it is

_one_at_a_time = threading.Lock()  # in a worker of several threads; TensorFlow uses them all for one batch


@dataclass(frozen=True)
class Job:
    """What the rows of a split are made with. Paths are absolute; workers see them under the same names."""

    backbone: Path
    split: str
    views: int
    batch: int
    params: Params
    classes: list[str]


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` (exclusive) of a split, and the file that holds them once they are computed."""

    start: int
    stop: int
    file: Path


def plan_chunks(job: Job, done: int, total: int, store: Path) -> list[Chunk]:
    """The rows from `done` on; chunks lie on one grid whatever the number of workers, so that another run finds them again."""
    size = job.batch * max(1, CHUNK // job.batch)
    edges = [done, *range((done // size + 1) * size, total, size), total]
    return [
        Chunk(start, stop, store / f"{job.split}-{start:08d}-{stop:08d}.npz")
        for start, stop in itertools.pairwise(edges)
        if start < stop
    ]


@functools.lru_cache(maxsize=1)
def _backbone(folder: Path) -> Callable:
    """The backbone as a process of the cluster keeps it between chunks."""
    from distributed import get_worker

    from pipeline.console import quiet_libraries

    quiet_libraries()
    import tensorflow as tf

    from pipeline.training.runtime import be_deterministic

    tf.config.threading.set_intra_op_parallelism_threads(get_worker().state.nthreads)
    be_deterministic()
    loaded = tf.saved_model.load(str(folder))
    return lambda views: loaded.features(views)


def compute_chunk(job: Job, positions: list[RecordPosition], chunk: Chunk) -> None:
    """Runs on a worker: the features and labels of a chunk's clips, into its file."""
    with _one_at_a_time:
        backbone = _backbone(job.backbone)
        import tensorflow as tf

        from pipeline.training.datasets import views_to_embed

        records = tf.data.Dataset.from_tensor_slices([read_record(position) for position in positions])
        numbered = tf.data.Dataset.zip((tf.data.Dataset.range(chunk.start, chunk.stop), records))
        dataset = views_to_embed(numbered, job.split, job.views, job.params, job.classes)
        blocks: dict[str, list[np.ndarray]] = {"features": [], "labels": [], "clips": [], "groups": []}
        for block in dataset.batch(job.batch).prefetch(2):
            pixels = block["views"]
            computed = backbone(np.reshape(pixels, (-1, *pixels.shape[2:])))
            blocks["features"].append(np.reshape(computed, (len(pixels), job.views, -1)))
            blocks["labels"].append(block["label"].numpy())
            for name in ("clip", "group"):
                blocks[f"{name}s"].append(np.char.decode(block[name].numpy().astype(bytes), "utf-8"))
    with atomic_file(chunk.file) as part, open(part, "wb") as stream:
        np.savez(stream, **{name: np.concatenate(arrays) for name, arrays in blocks.items()})


def embed_on_cluster(
    job: Job,
    files: list[Path],
    store: Path,
    cluster: Workers,
    features: np.ndarray,
    labels: np.ndarray,
    rows: list[list[str]],
    save: Callable[[], None],
) -> None:
    """Fills `features` (clips, views, features) and `labels` (clips, views) from row `len(rows)` on, and `rows` with them.

    Args:
      files: the split's records, in order.
      store: the scratch folder, where workers put their chunks.
      rows: [clip, group] of each finished row; appended to.
      save: notes on disk that the rows are done.
    """
    positions = clip_positions([file.resolve() for file in files])
    chunks = plan_chunks(job, len(rows), min(len(positions), len(features)), store)
    missing = [chunk for chunk in chunks if not chunk.file.is_file()]
    calls = (
        Call((job, positions[chunk.start : chunk.stop], chunk), 0, f"{job.split} clips {chunk.start + 1} to {chunk.stop}")
        for chunk in missing
    )
    computed = cluster.in_order(compute_chunk, calls, ahead=AHEAD)
    taken: list[Path] = []
    saved = time.monotonic()
    with progress(total=len(features), initial=len(rows), describe=f"embedding {job.split}", unit="clip") as bar:
        for chunk in _in_turn(chunks, missing, computed):
            with np.load(chunk.file) as arrays:
                features[chunk.start : chunk.stop] = arrays["features"]
                labels[chunk.start : chunk.stop] = arrays["labels"]
                rows += [list(row) for row in zip(arrays["clips"].tolist(), arrays["groups"].tolist(), strict=True)]
            taken.append(chunk.file)
            bar.update(chunk.stop - chunk.start)
            if time.monotonic() - saved > SAVE_EVERY:
                save()
                while taken:
                    taken.pop().unlink()
                saved = time.monotonic()
    save()
    for path in taken:
        path.unlink()


def _in_turn(chunks: list[Chunk], missing: list[Chunk], computed: Iterator) -> Iterator[Chunk]:
    """Each chunk, once its file is there."""
    waited_for = set(missing)
    for chunk in chunks:
        if chunk in waited_for:
            next(computed)
        yield chunk
