"""The rows of a split in chunks for the workers of a cluster, each written to the scratch folder whole.

Invariants: the rows are bitwise those of one process on the same kind of machine. For that a worker runs the backbone on the
batches that one process makes: chunks begin at multiples of the batch. A killed run resumes: finished chunks are not computed
again, and rows that one process had finished count too.
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
from pipeline.embedding.rows import EmbeddingJob, SplitRows, names_of
from pipeline.files import atomic_file

CHUNK = 32  # clips, about: tens of seconds of work, which is also what a killed worker loses
AHEAD = 2  # chunks a thread of the cluster, so that a worker finds its next one waiting

_one_at_a_time = threading.Lock()  # in a worker of several threads; TensorFlow uses them all for one batch


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` (exclusive) of a split, and the file that holds them once they are computed."""

    start: int
    stop: int
    file: Path


def plan_chunks(job: EmbeddingJob, done: int, total: int, store: Path) -> list[Chunk]:
    """The rows from `done` on; chunks lie on one grid whatever the number of workers, so that another run finds them again."""
    size = job.clips_a_batch * max(1, CHUNK // job.clips_a_batch)
    edges = [done, *range((done // size + 1) * size, total, size), total]
    return [
        Chunk(start, stop, store / f"{job.split}-{start:08d}-{stop:08d}.npz")
        for start, stop in itertools.pairwise(edges)
        if start < stop
    ]


@functools.lru_cache(maxsize=1)
def _backbone(folder: Path):
    """The backbone as a process of the cluster keeps it between chunks."""
    from distributed import get_worker

    from pipeline.console import quiet_libraries

    quiet_libraries()
    import tensorflow as tf

    from pipeline.training.runtime import be_deterministic

    tf.config.threading.set_intra_op_parallelism_threads(get_worker().state.nthreads)
    be_deterministic()
    return tf.saved_model.load(str(folder))


def compute_chunk(job: EmbeddingJob, positions: list[RecordPosition], chunk: Chunk, backbone: Path) -> None:
    """Runs on a worker: the rows of a chunk's clips, into its file. Paths are absolute; workers see them under the same names."""
    with _one_at_a_time:
        loaded = _backbone(backbone)
        import tensorflow as tf

        from pipeline.training.datasets import views_to_embed

        records = tf.data.Dataset.from_tensor_slices([read_record(position) for position in positions])
        numbered = tf.data.Dataset.zip((tf.data.Dataset.range(chunk.start, chunk.stop), records))
        computed, names = [], []
        for block in views_to_embed(numbered, job.split, job.views, job.recipe).batch(job.clips_a_batch).prefetch(2):
            computed.append(job.compute(loaded, block))
            names += names_of(block)
    arrays = {f"rows{end}": np.concatenate([rows[end] for rows in computed]) for end in job.arrays}
    with atomic_file(chunk.file) as part, open(part, "wb") as stream:
        np.savez(stream, names=np.array(names), **arrays)


def embed_on_cluster(job: EmbeddingJob, files: list[Path], store: Path, cluster: Workers, rows: SplitRows, bar: tqdm) -> None:
    """Fills `rows` from the first that is not done.

    Args:
      files: the split's records, in order.
      store: the scratch folder, where workers find the backbone and put their chunks.
      bar: counts clips.
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
    taken: list[Path] = []
    for chunk in _as_computed(chunks, missing, computed):
        with np.load(chunk.file) as arrays:
            rows.append({end: arrays[f"rows{end}"] for end in job.arrays}, arrays["names"].tolist())
        taken.append(chunk.file)
        bar.update(chunk.stop - chunk.start)
        if rows.save(if_due=True):
            while taken:
                taken.pop().unlink()
    rows.save()
    for path in taken:
        path.unlink()


def _as_computed(chunks: list[Chunk], missing: list[Chunk], computed: Iterator) -> Iterator[Chunk]:
    """Each chunk, once its file is there."""
    waited_for = set(missing)
    for chunk in chunks:
        if chunk in waited_for:
            next(computed)
        yield chunk
