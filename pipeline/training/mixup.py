"""Mixup: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"."""

import tensorflow as tf

from pipeline.training.datasets import EPOCH_STRIDE


def mixup(inputs, targets: tf.Tensor, alpha: float, seed: tf.Tensor):
    """Mixes each example of a batch with the next one, input and target in the same proportion.

    Args:
      inputs: a tensor with B rows, or a dictionary of them. A frame of `features` that `mask` (bool (B, T)) excludes counts as
        zeros, and is excluded from the mixture if it is from both.
      targets: float32 (B, classes).
      alpha: both parameters of the Beta distribution of the proportion.
      seed: int64 (2,); the proportions are a function of it.
    """
    # A Beta number is X / (X + Y) with X, Y ~ Gamma(alpha) ~ Gamma(alpha + 1) * U^(1 / alpha). In logarithms nothing underflows.
    shape, seeds = [2, tf.shape(targets)[0]], tf.random.split(seed, 2)
    gamma = tf.random.stateless_gamma(shape, seeds[0], tf.constant(alpha + 1, tf.float64), dtype=tf.float64)
    uniform = tf.random.stateless_uniform(shape, seeds[1], minval=1e-12, dtype=tf.float64)
    logs = tf.math.log(gamma) + tf.math.log(uniform) / alpha
    share = tf.cast(tf.sigmoid(logs[0] - logs[1]), tf.float32)

    def mixed(values: tf.Tensor) -> tf.Tensor:
        own = tf.cast(tf.reshape(share, [-1, *[1] * (values.shape.rank - 1)]), values.dtype)
        return own * values + (1 - own) * tf.roll(values, -1, axis=0)

    if isinstance(inputs, dict) and "mask" in inputs:
        mask = inputs["mask"]
        features = mixed(inputs["features"] * tf.cast(mask, inputs["features"].dtype)[..., tf.newaxis])
        return {"features": features, "mask": mask | tf.roll(mask, -1, axis=0)}, mixed(targets)
    return tf.nest.map_structure(mixed, inputs), mixed(targets)


def mixed_batches(batches: tf.data.Dataset, alpha: float, seed: int, epoch: int, first: int) -> tf.data.Dataset:
    """The batches (inputs, targets) of an epoch, mixed. first: the number of the first one."""

    def mix(number: tf.Tensor, batch: tuple):
        return mixup(*batch, alpha, tf.stack([tf.constant(seed, tf.int64), epoch * EPOCH_STRIDE + number]))

    return batches.enumerate(first).map(mix, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
