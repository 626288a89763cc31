"""Computes the rows of a split on the workers of a cluster, in chunks that are written atomically to the scratch folder.

Invariants: the rows are bitwise equal to those of one process on the same kind of machine. For this the backbone runs on the same
batches: chunks start at multiples of the batch. A killed run resumes: finished chunks are not computed again, nor are rows that a
single process has finished.
"""

import functools
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.cluster import Call, Workers
from pipeline.embedding.record_positions import RecordPosition, clip_positions, read_record
from pipeline.embedding.rows import EmbeddingJob, SplitRows, decode_names
from pipeline.files import atomic_file

CHUNK = 32  # clips, approximately: tens of seconds of work, which is also what a killed worker loses
AHEAD = 2  # chunks in flight per thread of the cluster, so that no worker waits for the next one

_one_at_a_time = threading.Lock()  # in a worker with several threads: TensorFlow uses all of them for one batch


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` (exclusive) of a split, and the file to store them in."""

    start: int
    stop: int
    file: Path


def plan_chunks(job: EmbeddingJob, done: int, total: int, store: Path) -> list[Chunk]:
    """Divides the rows from `done` to `total` into chunks.

    Their edges do not depend on the number of workers, so that a resumed run can use the files of an earlier one.
    """
    size = job.clips_per_batch * max(1, CHUNK // job.clips_per_batch)
    edges = [done, *range((done // size + 1) * size, total, size), total]
    return [
        Chunk(start, stop, store / f"{job.split}-{start:08d}-{stop:08d}.npz")
        for start, stop in itertools.pairwise(edges)
        if start < stop
    ]


@functools.lru_cache(maxsize=1)
def _backbone(folder: Path):
    """Loads the backbone in a process of the cluster, which keeps it between chunks."""
    from distributed import get_worker

    from pipeline.console import quiet_libraries

    quiet_libraries()
    import tensorflow as tf

    from pipeline.training.runtime import enable_determinism

    tf.config.threading.set_intra_op_parallelism_threads(get_worker().state.nthreads)
    enable_determinism()
    return tf.saved_model.load(str(folder))


def compute_chunk(job: EmbeddingJob, positions: list[RecordPosition], chunk: Chunk, backbone: Path) -> None:
    """Computes the rows of a chunk and writes them to its file. Runs on a worker.

    Args:
      positions: of the chunk's clips.
      backbone: a SavedModel. All paths are absolute and must be valid on all workers.
    """
    with _one_at_a_time:
        loaded = _backbone(backbone)
        import tensorflow as tf

        from pipeline.training.datasets import views_to_embed

        records = tf.data.Dataset.from_tensor_slices([read_record(position) for position in positions])
        numbered = tf.data.Dataset.zip((tf.data.Dataset.range(chunk.start, chunk.stop), records))
        computed, names = [], []
        for block in views_to_embed(numbered, job.split, job.views, job.recipe).batch(job.clips_per_batch).prefetch(2):
            computed.append(job.compute(loaded, block))
            names += decode_names(block)
    arrays = {f"rows{suffix}": np.concatenate([rows[suffix] for rows in computed]) for suffix in job.arrays}
    with atomic_file(chunk.file) as part, open(part, "wb") as stream:
        np.savez(stream, names=np.array(names), **arrays)


def embed_on_cluster(job: EmbeddingJob, files: list[Path], store: Path, cluster: Workers, rows: SplitRows, bar: tqdm) -> None:
    """Computes and saves all rows that `rows` does not have yet.

    Args:
      files: the split's records, in order.
      store: the scratch folder: the workers read the backbone there and write their chunks.
      bar: progress bar that counts clips.
    """
    positions = clip_positions([file.resolve() for file in files])
    chunks = plan_chunks(job, len(rows.done), min(len(positions), rows.clips), store)
    missing = [chunk for chunk in chunks if not chunk.file.is_file()]
    calls = (
        Call(
            (job, positions[chunk.start : chunk.stop], chunk, store / "backbone"),
            0,
            f"{job.split} clips {chunk.start + 1} to {chunk.stop}",
        )
        for chunk in missing
    )
    computed = cluster.in_order(compute_chunk, calls, ahead=AHEAD)
    copied: list[Path] = []  # chunk files whose rows are not saved yet
    for chunk in _as_computed(chunks, missing, computed):
        with np.load(chunk.file) as arrays:
            rows.append({suffix: arrays[f"rows{suffix}"] for suffix in job.arrays}, arrays["names"].tolist())
        copied.append(chunk.file)
        bar.update(chunk.stop - chunk.start)
        if rows.save(if_due=True):
            while copied:
                copied.pop().unlink()
    rows.save()
    for path in copied:
        path.unlink()


def _as_computed(chunks: list[Chunk], missing: list[Chunk], computed: Iterator) -> Iterator[Chunk]:
    """Yields all chunks in order, each as soon as its file exists. computed: yields once for each missing chunk."""
    not_computed = set(missing)
    for chunk in chunks:
        if chunk in not_computed:
            next(computed)
        yield chunk
