"""Builds and saves a CNN-RNN's recurrent top, which is trained on cached features."""

from pathlib import Path

import tensorflow as tf
import tf_keras

from pipeline.artifacts import ClassifierDescription, EmbedSummary
from pipeline.models.cnn_rnn.apply import TOP_FILE, TopValues
from pipeline.models.cnn_rnn.network.recurrent import RecurrentTop, build_recurrent_top
from pipeline.models.cnn_rnn.network.serving import Classifier, save_classifier
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.settings import Finetune
from pipeline.video.sampling import Sampling


def build_top(model: Settings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> tf_keras.Model:
    dropout = model.dropout if finetune.dropout is None else finetune.dropout
    shape = EmbedSummary.of(embeddings).shape
    return build_recurrent_top(shape, model.units, model.hidden, num_classes, dropout=dropout, seed=seed)


def save_top(top: tf_keras.Model, embeddings: Path, folder: Path, description: ClassifierDescription) -> int:
    """Implements `family.save_top`: writes `top.npz`, which `apply` and `stream` read, and the SavedModel."""
    model = Settings.model_validate(description.settings)
    values = TopValues.from_weights(top.get_weights(), len(model.units))
    values.save(folder / TOP_FILE)
    image_features = tf.saved_model.load(str(embeddings / "image_network"))
    served = Classifier(image_features, RecurrentTop(values), Sampling.of(description), description.views)
    save_classifier(served, folder / "saved_model")
    return model.image_network.parameters + values.parameters
