"""Batch shards: together they contain each row of each global batch once, and their weights sum to its mean."""

import numpy as np
import pytest

from pipeline.training.batch_shards import BatchShard

BATCH = 8


def batches(total: int, shard: BatchShard, first: int = 0):
    import tensorflow as tf

    numbered = tf.data.Dataset.range(total).map(lambda number: (number, tf.strings.as_string(number))).skip(first)

    def view(index, serialized):
        return {"image": tf.cast(index, tf.float32)}, tf.strings.to_number(serialized)

    return list(shard.batches(numbered, total, BATCH, view).as_numpy_iterator())


@pytest.mark.parametrize("total", [16, 17, 21])
@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_all_shards_together_are_the_batches_of_one_process(total, workers, replicas):
    shards = [batches(total, BatchShard(worker, workers, replicas)) for worker in range(workers)]
    steps = -(-total // BATCH)
    assert [len(shard) for shard in shards] == [steps * replicas] * workers
    for step in range(steps):
        expected = np.arange(step * BATCH, min(total, (step + 1) * BATCH))
        seen = []
        for shard in shards:
            for inputs, targets, row_info in shard[step * replicas : (step + 1) * replicas]:
                assert len(targets) > 0, "an empty batch has no statistics"
                np.testing.assert_array_equal(inputs["image"], targets)
                np.testing.assert_array_equal(row_info["row"] + step * BATCH, targets)
                is_counted = row_info["weight"] > 0
                np.testing.assert_allclose(row_info["weight"][is_counted], 1 / len(expected))
                seen += targets[is_counted].tolist()
        assert seen == expected.tolist(), "in order, each once"


def test_an_epoch_can_start_in_the_middle():
    shard = BatchShard(1, 2, 1)
    for resumed, whole in zip(batches(21, shard, first=8), batches(21, shard)[1:], strict=True):
        np.testing.assert_array_equal(resumed[1], whole[1])
        np.testing.assert_array_equal(resumed[2]["row"], whole[2]["row"])
