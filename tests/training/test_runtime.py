"""TensorFlow's settings that show only in a process of its own."""

import subprocess
import sys

import pytest

COMPILE_TWICE = """
from pipeline.console import quiet_libraries
quiet_libraries()
from pipeline.training.runtime import start_xla
import tensorflow as tf
start_xla()
print(tf.function(lambda x: 2 * x, jit_compile=True)(tf.ones([])).numpy())
"""


@pytest.mark.slow
def test_xla_writes_nothing_after_it_was_started():
    done = subprocess.run([sys.executable, "-c", COMPILE_TWICE], capture_output=True, text=True)
    assert done.stdout == "2.0\n"
    assert "XLA" not in done.stderr and "absl::InitializeLog" not in done.stderr
