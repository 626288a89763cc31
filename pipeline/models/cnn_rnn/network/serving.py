"""Saves the classifier as a SavedModel that runs without Keras and without this project's code."""

from pathlib import Path

import tensorflow as tf

from pipeline.files import atomic_folder
from pipeline.models.cnn_rnn.network.recurrent import RecurrentTop
from pipeline.video.sampling import Sampling
from pipeline.video.views import test_views

_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # for inference only


class Classifier(tf.Module):
    """The module that is saved, registered and served.

    - `serving_default`: `frames` uint8 (B, T, H, W, 3), whole clips at the model's frame rate, with any T, H and W ->
      `probabilities` float32 (B, classes), the mean over the same views as in evaluation.
    - `probabilities`: views float32 (N, T, size, size, 3) in [0, 1], T up to `count` -> float32 (N, classes).
    - `features`: views -> float32 (N, T, P).

    image_features: a module with the function `features`, built or loaded.
    """

    def __init__(self, image_features, top: RecurrentTop, sampling: Sampling, views: int):
        super().__init__()
        size = sampling.size
        self.image_features = image_features
        self.features = image_features.features

        def probabilities(batch: tf.Tensor) -> tf.Tensor:
            features = tf.ensure_shape(self.features(batch), [None, batch.shape[1], top.values.recurrent[0][0].shape[0]])
            states = top.run(features, top.start(tf.shape(batch)[0]))
            return tf.nn.softmax(top.logits(states))

        def serve(frames: tf.Tensor) -> dict[str, tf.Tensor]:
            chosen = test_views(frames, sampling, views)
            each = probabilities(tf.reshape(chosen, [-1, tf.shape(chosen)[2], size, size, 3]))
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, views, each.shape[-1]]), axis=1)}

        self.probabilities = tf.function(probabilities, autograph=False)
        # The graph for whole views has no loop, so its operations can be counted; the one for shorter views loops over frames.
        for count in (sampling.count, None):
            self.probabilities.get_concrete_function(tf.TensorSpec([None, count, size, size, 3], tf.float32, name="views"))
        clip_spec = tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")
        self.serve = tf.function(serve, input_signature=[clip_spec], autograph=False)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    with atomic_folder(folder) as part:
        tf.saved_model.save(classifier, str(part), signatures={"serving_default": classifier.serve}, options=_OPTIONS)
