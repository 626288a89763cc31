"""Runs a CNN-RNN frame by frame: the image network sees each frame once, and the recurrent layers keep their states."""

from pathlib import Path

import tensorflow as tf

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models.cnn_rnn.apply import TOP_FILE, TopValues
from pipeline.models.cnn_rnn.network.recurrent import RecurrentTop
from pipeline.video.sampling import Sampling

States = dict[str, tf.Tensor]


class StreamingCnnRnn(tf.Module):
    """Implements `family.Stream`."""

    # The recurrent layers stay in float: they have few weights, and rounding errors would accumulate in their states.
    float_operations = ("ADD", "BATCH_MATMUL", "FULLY_CONNECTED", "LOGISTIC", "MEAN", "MUL", "SPLIT", "SUB", "TANH")
    float_scopes = ()

    def __init__(self, image_features, values: TopValues, description: ClassifierDescription):
        super().__init__()
        self.model, self.classes = description.model, description.classes
        self.fps, self.size, self.views = description.fps, description.size, description.views
        self.sampling, self.decision = Sampling.of(description), description.decision
        self._image_features = image_features  # keeps the loaded SavedModel alive, whose variables the functions read
        top = RecurrentTop(values)
        self.state_specs = {
            f"gru{number}": tf.TensorSpec([1, units], tf.float32, name=f"gru{number}")
            for number, units in enumerate(top.units, 1)
        }
        width = values.recurrent[0][0].shape[0]

        def run(image: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
            features = tf.ensure_shape(image_features.features(image), [1, image.shape[1], width])
            new = top.run(features, [states[name] for name in self.state_specs])
            return top.logits(new), dict(zip(self.state_specs, new, strict=True))

        self.call = tf.function(run, autograph=False)

    def init_states(self) -> States:
        return {name: tf.zeros(spec.shape, spec.dtype) for name, spec in self.state_specs.items()}


def open_stream(classifier: Path, description: ClassifierDescription) -> StreamingCnnRnn:
    """Implements `family.open_stream`."""
    if not (classifier / TOP_FILE).exists():
        raise UserError(
            f"without {TOP_FILE} it takes whole clips only",
            advice="to run it frame by frame, name models/classifier or a file of models/export",
        )
    loaded = tf.saved_model.load(str(classifier / "saved_model"))
    return StreamingCnnRnn(loaded, TopValues.load(classifier / TOP_FILE), description)
