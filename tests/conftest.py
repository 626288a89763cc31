"""What all tests share: the environment that commands set before they import TensorFlow, and a git that knows a name."""

import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # importing Keras 3 as well takes seconds, in each process
os.environ["GIT_CONFIG_GLOBAL"] = str(Path(__file__).with_name("gitconfig"))
