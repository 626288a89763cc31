"""How TensorFlow is set up before a stage's first operation."""

import tensorflow as tf


def be_deterministic() -> None:
    """Makes equal inputs give equal bits on this machine.

    TensorFlow's CPU kernels do so as they are (the tests hold them to it), and its own switch would halve their speed; on a GPU
    the switch is needed.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def start_training_sooner() -> None:
    """Skips Grappler on a CPU: it spends 10 s on a MoViNet's training step, which is then no faster. Inference gains by it."""
    if not tf.config.list_physical_devices("GPU"):
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
