"""Builds and restores the frozen image network, and saves it as a function of views."""

import hashlib
from pathlib import Path

import tensorflow as tf
import tf_keras

from pipeline.console import UserError, say
from pipeline.files import atomic_folder
from pipeline.models.cnn_rnn.network.constants import convert_variables_to_constants
from pipeline.models.cnn_rnn.network.image_networks import NETWORKS, ImageNetwork
from pipeline.models.cnn_rnn.network.weights_file import weights_file

_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # for inference only


def build_image_network(name: str, weights: str, size: int, seed: int) -> tf_keras.Model:
    """Builds and restores an image network: preprocessed images float32 (B, size, size, 3) -> float32 (B, features).

    Args:
      name: in NETWORKS.
      weights: as `model.weights`.
      seed: of random weights.

    Raises:
      UserError: the weights are not found, cannot be fetched or do not fit, or the network does not accept the size.
    """
    network = NETWORKS[name]
    path = None if weights in ("imagenet", "random") else weights_file(weights)
    tf_keras.utils.set_random_seed(seed)
    builder = getattr(getattr(tf_keras.applications, network.module), network.builder)
    published = "imagenet" if weights == "imagenet" else None
    try:
        built = builder(weights=published, include_top=False, pooling="avg", input_shape=(size, size, 3))
    except ValueError as error:
        message = f"frames.size = {size}: {name} cannot take it: {_one_line(error)}"
        raise UserError(message, advice=f"set frames.size to {network.size}") from error
    except Exception as error:  # Keras raises a plain Exception if a download fails
        if published is None:
            raise
        advice = "fetch the file by other means and set model.weights to its path"
        raise UserError(f"the ImageNet weights of {name} cannot be fetched: {_one_line(error)}", advice=advice) from error
    if path is not None:
        try:
            built.load_weights(path)
        except (ValueError, KeyError, OSError) as error:
            advice = f"give weights of {name} without its classifier (no top), as Keras saves them"
            raise UserError(f"model.weights: {weights}: does not fit {name}: {_one_line(error)}", advice=advice) from error
        say(f"restored all {len(built.weights)} variables of {name} from {weights}")
    return built


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def values_digest(built: tf_keras.Model) -> str:
    """SHA-256 of all weights. It does not depend on the file that they were read from."""
    digest = hashlib.sha256()
    for value in built.get_weights():
        digest.update(value.tobytes())
    return digest.hexdigest()


class ImageFeatures(tf.Module):
    """The image network as a function of views.

    `features`: views float32 (N, T, size, size, 3) in [0, 1] -> float32 (N, T, P), for any T.
    """

    def __init__(self, built: tf_keras.Model, network: ImageNetwork, size: int):
        super().__init__()
        preprocess = getattr(tf_keras.applications, network.module).preprocess_input
        images = tf.TensorSpec([None, size, size, 3], tf.float32, name="images")
        frozen = convert_variables_to_constants(lambda images: built(preprocess(images * 255.0), training=False), images)

        def compute(views: tf.Tensor) -> tf.Tensor:
            shape = tf.shape(views)
            return tf.reshape(frozen(tf.reshape(views, [-1, size, size, 3])), [shape[0], shape[1], network.features])

        spec = tf.TensorSpec([None, None, size, size, 3], tf.float32, name="views")
        self.features = tf.function(compute, input_signature=[spec], autograph=False)


def save_image_features(module: tf.Module, folder: Path) -> None:
    with atomic_folder(folder) as part:
        tf.saved_model.save(module, str(part), options=_OPTIONS)
