"""Which rows of each global batch a replica gets, and how much each row counts.

Invariants: the replicas' rows together are the rows of the batch that a single process would take, each once; a row that a
replica is given only so that it has something to compute counts nothing. So the sum over replicas is the mean over the batch,
also over a last batch that cannot be divided evenly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


def _bounds(rows: tf.Tensor, part: tf.Tensor | int, parts: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end of the `part`-th of `parts` nearly equal runs of `rows`."""
    return rows * part // parts, rows * (part + 1) // parts


@dataclass(frozen=True)
class BatchShard:
    """What one process takes: that of `worker` of `workers`, for its `replicas` devices."""

    worker: int
    workers: int
    replicas: int

    def batches(
        self, numbered: tf.data.Dataset, total: int, batch_size: int, view: Callable[[tf.Tensor, tf.Tensor], tuple]
    ) -> tf.data.Dataset:
        """Batches for the replicas in turn: (inputs, targets, {"row": int32 (b,) in the global batch, "weight": float32 (b,)}).

        Args:
          numbered: (position, serialized clip), positions counting on from a multiple of `batch_size`; read in full by each
            worker, but only its own clips are decoded.
          total: how many there are, from position 0.
          batch_size: of the global batch; a multiple of workers * replicas.
          view: makes (inputs, targets) of a numbered clip.
        """

        def tag(position: tf.Tensor, serialized: tf.Tensor):
            row = position % batch_size
            rows = tf.minimum(tf.constant(batch_size, tf.int64), total - (position - row))
            start, stop = _bounds(rows, self.worker, self.workers)
            idle = tf.equal(start, stop)
            mine = tf.where(idle, tf.equal(row, 0), (row >= start) & (row < stop))
            weight = tf.where(idle, 0.0, 1.0 / tf.cast(rows, tf.float32))
            return position, serialized, {"row": tf.cast(row, tf.int32), "weight": weight}, mine

        chosen = numbered.map(tag, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).filter(lambda *example: example[-1])
        examples = chosen.map(
            lambda position, serialized, share, _: (*view(position, serialized), share),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        groups = examples.batch(batch_size // self.workers)
        return groups if self.replicas == 1 else groups.flat_map(self._divide)

    def _divide(self, inputs, targets, share: dict) -> tf.data.Dataset:
        """The worker's rows of a global batch, divided among its replicas."""
        rows = tf.shape(targets, tf.int64)[0]

        def part(number: tf.Tensor):
            start, stop = _bounds(rows, number, self.replicas)
            idle = tf.equal(start, stop)
            start, stop = tf.where(idle, tf.zeros_like(start), start), tf.where(idle, tf.ones_like(stop), stop)
            taken = tf.nest.map_structure(lambda values: values[start:stop], (inputs, targets, share))
            counts = tf.where(idle, 0.0, 1.0)
            return taken[0], taken[1], {**taken[2], "weight": taken[2]["weight"] * counts}

        return tf.data.Dataset.range(self.replicas).map(part)
