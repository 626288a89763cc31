"""Whether `model.weights` can be had, found without TensorFlow and without fetching anything."""

from pipeline.check_results import CheckResult, ok, warning
from pipeline.models.cnn_rnn.network.weights_file import weights_file
from pipeline.models.cnn_rnn.settings import Settings


def check_weights(model: Settings) -> CheckResult:
    """See `family.check_weights`. Whether a file fits shows when embed restores it: it takes a second."""
    if model.weights == "random":
        return ok("weights", f"{model.network} starts from random weights")
    if model.weights == "imagenet":
        message = f"Keras fetches the ImageNet weights of {model.network} when embed runs, unless ~/.keras/models holds them"
        return warning("weights", message, "without a network, set model.weights to an .h5 file of the network without its top")
    return ok("weights", f"{weights_file(model.weights)}: an HDF5 file of Keras")
