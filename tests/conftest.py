"""What all tests share: the environment that commands set before they import TensorFlow."""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # importing Keras 3 as well takes seconds, in each process
