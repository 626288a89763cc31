"""TensorFlow's settings, to be made before a stage's first operation."""

import os

import tensorflow as tf

from pipeline.console import without_chatter


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


def keep_memory_on_cpu() -> None:
    """Makes TensorFlow reuse the memory of its tensors on a CPU, as it does on a GPU.

    By default the memory of each large tensor is returned to the system, which clears the pages of the next one: for a feature
    map of 40 MB that takes four times as long as an elementwise operation.
    """
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")  # read with the first operation


def start_xla() -> None:
    """Makes XLA write its start-up messages now, where they are filtered, and not in the middle of a progress bar.

    XLA writes them to stderr when it first compiles a function, whatever the log level.
    """
    with without_chatter():
        tf.function(tf.identity, jit_compile=True)(tf.zeros([]))
