"""Divides each global batch among replicas, and gives each row its weight in the loss.

Invariants: together the replicas receive the rows of the batch that a single process would use, each exactly once. A replica that
would receive no rows gets one row of weight 0. So the weighted sum over all replicas is the mean over the batch, also for a last
batch that cannot be divided evenly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


def _bounds(rows: tf.Tensor, part: tf.Tensor | int, parts: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end (exclusive) of part number `part` when `rows` rows are divided into `parts` parts of nearly equal size."""
    return rows * part // parts, rows * (part + 1) // parts


@dataclass(frozen=True)
class BatchShard:
    """The part of each global batch that one process receives: process `worker` of `workers`, with `replicas` devices."""

    worker: int
    workers: int
    replicas: int

    def batches(
        self, numbered: tf.data.Dataset, total: int, batch_size: int, view: Callable[[tf.Tensor, tf.Tensor], tuple]
    ) -> tf.data.Dataset:
        """Returns batches for replica 0, 1, ... of the first global batch, then of the second, and so on.

        Elements: (inputs, targets, {"row": int32 (b,), the index in the global batch, "weight": float32 (b,)}).

        Args:
          numbered: (index, serialized clip); indices are consecutive and start at a multiple of `batch_size`. Each worker reads
            all clips, but decodes only its own.
          total: number of clips, counted from index 0.
          batch_size: size of the global batch; a multiple of workers * replicas.
          view: maps an index and a serialized clip to (inputs, targets).
        """

        def assign(index: tf.Tensor, serialized: tf.Tensor):
            row = index % batch_size
            rows = tf.minimum(tf.constant(batch_size, tf.int64), total - (index - row))
            start, stop = _bounds(rows, self.worker, self.workers)
            empty = tf.equal(start, stop)
            is_own = tf.where(empty, tf.equal(row, 0), (row >= start) & (row < stop))
            weight = tf.where(empty, 0.0, 1.0 / tf.cast(rows, tf.float32))
            return index, serialized, {"row": tf.cast(row, tf.int32), "weight": weight}, is_own

        assigned = numbered.map(assign, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        examples = assigned.filter(lambda *example: example[-1]).map(
            lambda index, serialized, row_info, _: (*view(index, serialized), row_info),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        worker_batches = examples.batch(batch_size // self.workers)
        return worker_batches if self.replicas == 1 else worker_batches.flat_map(self._divide)

    def _divide(self, inputs, targets, row_info: dict) -> tf.data.Dataset:
        """Divides the worker's rows of a global batch among its replicas."""
        rows = tf.shape(targets, tf.int64)[0]

        def replica_batch(replica: tf.Tensor):
            start, stop = _bounds(rows, replica, self.replicas)
            empty = tf.equal(start, stop)
            start, stop = tf.where(empty, tf.zeros_like(start), start), tf.where(empty, tf.ones_like(stop), stop)
            own = tf.nest.map_structure(lambda values: values[start:stop], (inputs, targets, row_info))
            factor = tf.where(empty, 0.0, 1.0)
            return own[0], own[1], {**own[2], "weight": own[2]["weight"] * factor}

        return tf.data.Dataset.range(self.replicas).map(replica_batch)
