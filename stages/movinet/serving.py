"""The trunk and the finished classifier as SavedModels that need neither Keras nor the Model Garden to run.

Only variables and traced functions are saved: handing TensorFlow the Keras model would trace each of its layers, for minutes.
"""

from pathlib import Path

import tensorflow as tf
import tf_keras

from stages.files import whole_folder
from stages.movinet.head import HeadValues, apply_head
from stages.video.views import test_views


class Trunk(tf.Module):
    """`features`: views float32 (N, T, S, S, 3) in [0, 1] -> float32 (N, P), with frozen batch norm and no dropout."""

    def __init__(self, backbone: tf_keras.Model, features: int):
        super().__init__()
        self.trunk_variables = list(backbone.variables)

        def compute(views: tf.Tensor) -> tf.Tensor:
            endpoints, _ = backbone({"image": views}, training=False)
            return tf.reshape(tf.cast(endpoints["head"], tf.float32), [-1, features])

        signature = [tf.TensorSpec([None, None, None, None, 3], tf.float32, name="views")]
        self.features = tf.function(compute, input_signature=signature)


class Classifier(tf.Module):
    """What is registered and served.

    - `serving_default`: `frames` uint8 (B, T, H, W, 3), whole clips at the model's frame rate, any T, H and W -> `probabilities`
      float32 (B, classes), averaged over the evenly spaced views that evaluation uses too.
    - `probabilities`: views float32 (N, count, size, size, 3) -> float32 (N, classes).
    """

    def __init__(self, trunk, head: HeadValues, *, activation: str, count: int, views: int, size: int):
        super().__init__()
        self.trunk = trunk
        self.head_variables = [tf.Variable(value, trainable=False) for value in vars(head).values()]

        def probabilities(batch: tf.Tensor) -> tf.Tensor:
            return apply_head(self.trunk.features(batch), HeadValues(*self.head_variables), activation)

        def serve(frames: tf.Tensor) -> dict[str, tf.Tensor]:
            batch = tf.reshape(test_views(frames, count=count, views=views, size=size), [-1, count, size, size, 3])
            each = probabilities(batch)
            return {"probabilities": tf.reduce_mean(tf.reshape(each, [-1, views, each.shape[-1]]), axis=1)}

        view_spec = tf.TensorSpec([None, count, size, size, 3], tf.float32, name="views")
        clip_spec = tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")
        self.probabilities = tf.function(probabilities, input_signature=[view_spec])
        self.serve = tf.function(serve, input_signature=[clip_spec])


def save_trunk(trunk: Trunk, folder: Path) -> None:
    with whole_folder(folder) as part:
        tf.saved_model.save(trunk, str(part))


def save_classifier(classifier: Classifier, folder: Path) -> None:
    with whole_folder(folder) as part:
        tf.saved_model.save(classifier, str(part), signatures={"serving_default": classifier.serve})
