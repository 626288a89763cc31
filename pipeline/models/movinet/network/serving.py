"""Saves the classifier as a SavedModel that runs without Keras and without the Model Garden.

The backbone's weights are constants of its graph. The head's weights are variables, so that `saved_head` can write
another head into a copy of the SavedModel.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.files import atomic_folder
from pipeline.models.movinet.apply import HeadValues
from pipeline.models.movinet.network.head import apply_head
from pipeline.models.movinet.network.saved_head import HEAD_FIELDS
from pipeline.models.movinet.network.tensorflow_graph import features
from pipeline.models.movinet.network.variants import Variant
from pipeline.video.sampling import Sampling
from pipeline.video.views import test_views

_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # for inference only


class FrozenBackbone(tf.Module):
    """The backbone in inference mode, with the values of a checkpoint as constants; see `backbone_values`.

    `features`: views float32 (N, count, size, size, 3) in [0, 1] -> float32 (N, P).
    """

    def __init__(self, values: Mapping[str, np.ndarray], variant: Variant, sampling: Sampling):
        super().__init__()
        spec = tf.TensorSpec([None, sampling.count, sampling.size, sampling.size, 3], tf.float32, name="views")
        self.features = tf.function(partial(features, values, variant), input_signature=[spec], autograph=False)


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
        self.probabilities = tf.function(probabilities, input_signature=[view_spec], autograph=False)
        self.serve = tf.function(serve, input_signature=[clip_spec], autograph=False)


def save_classifier(classifier: Classifier, folder: Path) -> None:
    signatures = {"serving_default": classifier.serve}
    with atomic_folder(folder) as part:
        tf.saved_model.save(classifier, str(part), signatures=signatures, options=_OPTIONS)
