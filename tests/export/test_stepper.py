"""Steppers: the number of threads, and softmax."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pipeline.inference.stepper import softmax

VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
PROGRAM = """
from pipeline.inference.stepper import one_thread

one_thread()
import psutil
import tensorflow as tf

tf.linalg.matmul(tf.ones((500, 500)), tf.ones((500, 500))).numpy()
print(psutil.Process().num_threads())
"""


def threads(**variables: str) -> int:
    """The number of threads of a process with these environment variables, after one_thread and a computation."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables
    result = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    return int(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_one_thread_unless_environment_variables_set_the_number():
    assert threads() < threads(**dict.fromkeys(VARIABLES, "2"))


def test_softmax_of_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4], [0.0, np.log(3.0)]])), [[0.5, 0.5], [0.25, 0.75]])
