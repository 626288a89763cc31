"""A CNN-RNN trains only its top: the functions that train whole networks raise UserError."""

from pathlib import Path
from typing import NoReturn

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.settings import Finetune


def _refuse() -> NoReturn:
    raise UserError("the image network of a CNN-RNN stays frozen", advice="set finetune=head")


def initial_weights_digest(model: Settings) -> str | None:
    _refuse()


def build_network(model: Settings, finetune: Finetune, num_classes: int, seed: int) -> NoReturn:
    _refuse()


def set_top(model: Settings, network, top) -> NoReturn:
    _refuse()


def layer_depths(model: Settings, network) -> NoReturn:
    _refuse()


def plain_network(model: Settings, network, num_classes: int, *, portable: bool) -> NoReturn:
    _refuse()


def save_network(network, folder: Path, description: ClassifierDescription) -> NoReturn:
    _refuse()
