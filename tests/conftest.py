"""What all tests share: the environment that commands set before they import TensorFlow, and a git that knows a name."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # importing Keras 3 as well takes seconds, in each process
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))


@pytest.fixture
def heeds_ctrl_c():
    """Ctrl-C interrupts the test, though a shell may have started the tests with it ignored, or a library have changed that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
