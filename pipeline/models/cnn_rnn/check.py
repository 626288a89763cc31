"""Checks that `model.weights` exists, without TensorFlow and without fetching it."""

from pipeline.check_results import CheckResult, ok, warning
from pipeline.models.cnn_rnn.network.weights_file import weights_file
from pipeline.models.cnn_rnn.settings import Settings


def check_weights(model: Settings) -> CheckResult:
    """Implements `family.check_weights`. It does not check that a file fits: embed does so within a second of its start."""
    if model.weights == "random":
        return ok("weights", f"{model.network} starts from random weights")
    if model.weights == "imagenet":
        message = f"Keras fetches the ImageNet weights of {model.network} when embed runs, unless ~/.keras/models holds them"
        advice = "on a machine without internet access, set model.weights to an .h5 file of the network without its classifier"
        return warning("weights", message, advice)
    return ok("weights", f"{weights_file(model.weights)}: an HDF5 file of Keras")
