"""The shares of replicas: together each global batch, each row once, and their weights make its mean."""

import numpy as np
import pytest

from pipeline.training.batch_shards import BatchShard

BATCH = 8


def batches(total: int, share: BatchShard, first: int = 0):
    import tensorflow as tf

    numbered = tf.data.Dataset.range(total).map(lambda number: (number, tf.strings.as_string(number))).skip(first)

    def view(position, serialized):
        return {"image": tf.cast(position, tf.float32)}, tf.strings.to_number(serialized)

    return list(share.batches(numbered, total, BATCH, view).as_numpy_iterator())


@pytest.mark.parametrize("total", [16, 17, 21])
@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_together_they_are_the_batches_of_one_process(total, workers, replicas):
    shares = [batches(total, BatchShard(worker, workers, replicas)) for worker in range(workers)]
    steps = -(-total // BATCH)
    assert [len(share) for share in shares] == [steps * replicas] * workers
    for step in range(steps):
        expected = np.arange(step * BATCH, min(total, (step + 1) * BATCH))
        seen = []
        for share in shares:
            for inputs, targets, place in share[step * replicas : (step + 1) * replicas]:
                assert len(targets) > 0, "an empty batch has no statistics"
                np.testing.assert_array_equal(inputs["image"], targets)
                np.testing.assert_array_equal(place["row"] + step * BATCH, targets)
                counted = place["weight"] > 0
                np.testing.assert_allclose(place["weight"][counted], 1 / len(expected))
                seen += targets[counted].tolist()
        assert seen == expected.tolist(), "in order, each once"


def test_an_epoch_is_entered_in_the_middle():
    share = BatchShard(1, 2, 1)
    for mine, whole in zip(batches(21, share, first=8), batches(21, share)[1:], strict=True):
        np.testing.assert_array_equal(mine[1], whole[1])
        np.testing.assert_array_equal(mine[2]["row"], whole[2]["row"])
