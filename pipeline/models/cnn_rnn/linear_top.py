"""A CNN-RNN has no top of which only the last layer is fitted: its recurrent layers start from random weights."""

from pathlib import Path
from typing import NoReturn

from pipeline.console import UserError
from pipeline.models.cnn_rnn.settings import Settings
from pipeline.settings import Finetune


def open_probe(model: Settings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> NoReturn:
    raise UserError("a CNN-RNN has no top that could be fitted in one step", advice="set finetune=head")
