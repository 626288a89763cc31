"""Saves the classifier as a SavedModel that runs without Keras and without the Model Garden.

The backbone's weights are constants of its graph. The head's weights are variables, so that `saved_head` can write
another head into a copy of the SavedModel.
"""

from pathlib import Path

import tensorflow as tf
import tf_keras

from pipeline.files import atomic_folder
from pipeline.models.constants import convert_variables_to_constants
from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.head import apply_head
from pipeline.models.movinet.network.saved_head import HEAD_FIELDS
from pipeline.video.sampling import Sampling
from pipeline.video.views import test_views

_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # for inference only


class FrozenBackbone(tf.Module):
    """The backbone in inference mode, with its current weights as constants.

    `features`: views float32 (N, count, size, size, 3) in [0, 1] -> float32 (N, P). It uses fast convolutions on every machine.
    """

    def __init__(self, backbone: tf_keras.Model, features: int, sampling: Sampling):
        # Here, because it imports the Model Garden, which other users of this module do not need.
        from pipeline.models.movinet.network.fast_conv import use_fast_convolutions

        super().__init__()
        use_fast_convolutions(backbone)
        count, size = sampling.count, sampling.size
        spec = tf.TensorSpec([None, count, size, size, 3], tf.float32, name="views")

        def compute(views: tf.Tensor) -> tf.Tensor:
            endpoints, _ = backbone({"image": views}, training=False)
            return tf.reshape(tf.cast(endpoints["head"], tf.float32), [-1, features])

        frozen = convert_variables_to_constants(compute, spec)
        self.width = features
        self.features = tf.function(lambda views: frozen(views), input_signature=[spec], autograph=False)


class Classifier(tf.Module):
    """The module that is saved, registered and served.

    - `serving_default`: `frames` uint8 (B, T, H, W, 3), whole clips at the model's frame rate, with any T, H and W ->
      `probabilities` float32 (B, classes), the mean over the same views as in evaluation.
    - `probabilities`: views float32 (N, count, size, size, 3) in [0, 1] -> float32 (N, classes).

    backbone: a module with the function `features`, built or loaded.
    """

    def __init__(self, backbone, head: HeadValues, sampling: Sampling, *, activation: str, views: int):
        super().__init__()
        count, size = sampling.count, sampling.size
        self.backbone = backbone
        self.head_variables = [tf.Variable(getattr(head, field), trainable=False) for field in HEAD_FIELDS]

        def probabilities(batch: tf.Tensor) -> tf.Tensor:
            return apply_head(self.backbone.features(batch), HeadValues(*self.head_variables), activation)

        def serve(frames: tf.Tensor) -> dict[str, tf.Tensor]:
            batch = tf.reshape(test_views(frames, sampling, views), [-1, count, size, size, 3])
            each = probabilities(batch)
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, views, each.shape[-1]]), axis=1)}

        view_spec = tf.TensorSpec([None, count, size, size, 3], tf.float32, name="views")
        clip_spec = tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")
        self.probabilities = tf.function(probabilities, input_signature=[view_spec])
        self.serve = tf.function(serve, input_signature=[clip_spec])


def save_classifier(classifier: Classifier, folder: Path) -> None:
    signatures = {"serving_default": classifier.serve}
    with atomic_folder(folder) as part:
        tf.saved_model.save(classifier, str(part), signatures=signatures, options=_OPTIONS)
