"""The section `model` of a CNN-RNN. Does not import TensorFlow."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.console import UserError
from pipeline.models.cnn_rnn.network.image_networks import NETWORKS, ImageNetwork
from pipeline.models.family import Cost, ModelSettings
from pipeline.settings import Finetune, PositiveInt

# Measured on 2 cores of an AMD EPYC with TensorFlow 2.20: 8 views of 16 frames, which the image network sees one view at a time.
_FORWARD_BYTES = 92  # per pixel of the batch, without the built network itself: 33 (Inception V3) to 92 (MobileNetV2)
_START_SECONDS = 9  # to build and trace: 2 (MobileNet) to 9 (Inception V3)


class Settings(ModelSettings):
    """See `ModelSettings`.

    Attributes:
      weights: imagenet, random, or the path of a Keras weights file (.h5) of the network without its classifier.
      network: name of the image network, in NETWORKS.
      units: number of units of each recurrent layer (GRU), first to last.
      hidden: number of units of the dense layer after them; None for no such layer.
      dropout: rate before the dense layers, if finetune.dropout is null.
    """

    family: Literal["cnn_rnn"]
    network: Literal[tuple(NETWORKS)]
    units: Annotated[list[PositiveInt], Field(min_length=1)]
    hidden: PositiveInt | None
    dropout: Annotated[float, Field(ge=0, lt=1)]

    short_clips: ClassVar[Literal["repeat", "pad"]] = "pad"

    @property
    def image_network(self) -> ImageNetwork:
        return NETWORKS[self.network]

    @model_validator(mode="after")
    def _check_resolution(self) -> Self:
        if self.resolution != self.image_network.size:
            message = f"model.resolution = {self.resolution}, but {self.network} was trained at {self.image_network.size}"
            raise UserError(message, advice=f"choose model=cnn_rnn_{self.network}; to use another size, set frames.size")
        return self

    @property
    def streams(self) -> bool:
        return True

    def check_training(self, finetune: Finetune) -> None:
        if finetune.trainable != "head":
            message = f"finetune.trainable = {finetune.trainable}, but the image network of a CNN-RNN stays frozen"
            raise UserError(message, advice="set finetune=head")

    def cost(self, frames: int) -> Cost:
        network = self.image_network
        sizes = [network.features, *self.units]
        recurrent = sum(3 * units * (before + units + 2) for before, units in pairwise(sizes))
        return Cost(
            gflop=network.gflop,
            pixels=network.size,
            start=_START_SECONDS,
            forward=_FORWARD_BYTES,
            step=0,
            parameters=network.parameters + recurrent,
            features=frames * network.features,
        )
