"""TensorFlow's settings, to be made before a stage's first operation."""

import tensorflow as tf


def enable_determinism() -> None:
    """Makes results bitwise reproducible on this machine.

    TensorFlow's CPU kernels are deterministic (tests verify it), and its option would halve their speed; on a GPU it is needed.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def disable_grappler_on_cpu() -> None:
    """Disables Grappler on a CPU. It takes 10 s for a MoViNet's training step and does not speed it up; inference needs it."""
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
