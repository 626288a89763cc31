import numpy as np
import pytest
import tensorflow as tf

from pipeline.settings import Finetune
from pipeline.training.mixup import mixed_batches, mixup
from tests.training.test_loop import SETTINGS

SEED = tf.constant([1, 2], tf.int64)


def test_inputs_and_targets_are_mixed_in_the_same_proportion():
    inputs, targets = tf.random.stateless_normal([400, 3, 2], [0, 1]), tf.eye(400)
    mixed, of_targets = mixup({"image": inputs}, targets, 0.4, SEED)
    share = np.diag(of_targets)
    np.testing.assert_allclose(np.sum(of_targets, axis=1), 1, rtol=1e-6)
    other = np.roll(inputs, -1, axis=0)
    np.testing.assert_allclose(mixed["image"], share[:, None, None] * inputs + (1 - share)[:, None, None] * other, atol=1e-5)
    # Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1))
    assert share.mean() == pytest.approx(0.5, abs=0.06) and share.var() == pytest.approx(1 / 7.2, abs=0.02)
    assert not np.array_equal(share, np.diag(mixup(inputs, targets, 0.4, tf.constant([1, 3], tf.int64))[1]))


def test_a_tiny_alpha_keeps_examples_whole():
    inputs = tf.range(50.0)[:, tf.newaxis]
    mixed, _ = mixup(inputs, tf.eye(50), 1e-3, SEED)
    assert np.isfinite(mixed).all()
    assert (np.abs(mixed - np.round(mixed)) < 1e-3).mean() > 0.9


def test_padding_is_mixed_in_as_zeros():
    features = tf.constant([[[2.0], [9.0]], [[4.0], [6.0]]])
    mask = tf.constant([[True, False], [True, True]])
    mixed, targets = mixup({"features": features, "mask": mask}, tf.eye(2), 1.0, SEED)
    share = np.diag(targets)
    np.testing.assert_allclose(mixed["features"][0, :, 0], [share[0] * 2 + (1 - share[0]) * 4, (1 - share[0]) * 6], rtol=1e-6)
    assert mixed["mask"].numpy().tolist() == [[True, True], [True, True]]


def test_a_batch_depends_on_its_number_in_the_epoch_alone():
    batches = tf.data.Dataset.from_tensor_slices((tf.range(12.0), tf.eye(12))).batch(3)
    whole = [x.numpy() for x, _ in mixed_batches(batches, 0.5, 1, 4, 0)]
    late = [x.numpy() for x, _ in mixed_batches(batches.skip(2), 0.5, 1, 4, 2)]
    np.testing.assert_array_equal(whole[2:], late)
    assert not np.array_equal(whole[0], next(iter(mixed_batches(batches, 0.5, 1, 5, 0)))[0])


@pytest.mark.parametrize(
    ("changes", "message"), [({"trainable": "probe"}, "a probe has none"), ({"distribute": "mirrored"}, "replicas")]
)
def test_what_cannot_be_mixed_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Finetune.model_validate(SETTINGS.model_dump() | {"mixup": 0.2} | changes)
