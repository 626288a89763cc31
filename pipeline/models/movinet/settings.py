"""The section `model` of a MoViNet, and the costs of its variants. Does not import TensorFlow."""

from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import model_validator

from pipeline.artifacts import ClassifierDescription
from pipeline.console import UserError
from pipeline.models.family import Cost, ModelSettings
from pipeline.models.movinet.network.variants import MODEL_IDS, VARIANTS, Variant
from pipeline.models.movinet.network.weights.layouts import LAYOUTS
from pipeline.settings import Finetune


class Settings(ModelSettings):
    """See `ModelSettings`.

    Attributes:
      weights: pretrained, random, a URL, or the path of a tarball, folder, checkpoint prefix or PyTorch state dict.
      convolutions: implementation that is used in training; see `network.build.build_backbone`.
    """

    family: Literal["movinet"]
    id: Literal[MODEL_IDS]
    convolutions: Literal["auto", "fast", "stock"]

    PRETRAINED = MODEL_IDS

    @property
    def variant(self) -> Variant:
        return VARIANTS[self.id]

    @classmethod
    def of_id(cls, name: str) -> Self:
        variant = VARIANTS[name]
        return cls(
            family="movinet",
            id=name,
            fps=float(variant.fps),
            resolution=variant.resolution,
            weights="pretrained",
            watch="",
            convolutions="auto",
        )

    @model_validator(mode="after")
    def _check_pretraining(self) -> Self:
        for key, value, expected in (
            ("fps", self.fps, self.variant.fps),
            ("resolution", self.resolution, self.variant.resolution),
        ):
            if value != expected:
                message = f"model.{key} = {value}, but {self.id} was made for {expected}"
                raise UserError(message, advice="to use another, set frames.*")
        return self

    @property
    def activation(self) -> str:
        return self.variant.activation

    @property
    def streams(self) -> bool:
        return self.variant.stream

    @property
    def streaming_advice(self) -> str:
        return f"fine-tune a stream network (model={self.variant.family}_stream)"

    def check_training(self, finetune: Finetune) -> None:
        blocks = LAYOUTS[self.id].blocks
        if finetune.trainable == "last_blocks" and finetune.blocks > blocks:
            message = f"finetune.blocks = {finetune.blocks}, but {self.id} has {blocks} blocks"
            raise UserError(message, advice=f"set it to {blocks} at most, or finetune=full")

    def cost(self, frames: int) -> Cost:
        measured = _COSTS[self.id]
        return Cost(
            gflop=measured.gflop,
            pixels=self.variant.resolution,
            start=measured.start,
            forward=measured.forward,
            step=measured.step,
            parameters=LAYOUTS[self.id].parameters,
            features=self.variant.features,
        )


def check_stream_variant(variant: Variant) -> None:
    """Raises UserError unless networks of this variant run frame by frame."""
    if not variant.stream:
        raise UserError(
            f"{variant.id} sees whole clips and cannot run frame by frame", advice=Settings.of_id(variant.id).streaming_advice
        )


def check_stream(classifier: Path, description: ClassifierDescription) -> None:
    """Raises UserError unless the classifier runs frame by frame with the variant's head and has its checkpoint."""
    variant = VARIANTS[description.model]
    check_stream_variant(variant)
    if description.activation not in (None, variant.activation):
        message = f"trained when {variant.id} had {description.activation} in its head, not {variant.activation}"
        raise UserError(message, advice="train it again, or run its SavedModel on whole clips")
    if not (classifier / "checkpoint").exists():
        raise UserError(
            "without its checkpoint it takes whole clips only",
            advice="to run it frame by frame, name models/classifier or a file of models/export",
        )


class _Measured(NamedTuple):
    gflop: float
    start: int
    forward: int
    step: int


# Measured at the variant's own resolution with views of 8 frames and fast convolutions on a CPU. `gflop`: TensorFlow's profiler.
# The others: 2 cores of a Xeon at 2.5 GHz, TensorFlow 2.20, batches of 1 to 8 clips. `forward` of a3 to a5 is an upper bound;
# `step` of a4_stream and a5_stream is not measured: it is that of the base variant plus a tenth.
_COSTS = {
    "a0": _Measured(0.112, 30, 260, 1000),
    "a1": _Measured(0.243, 40, 230, 2000),
    "a2": _Measured(0.482, 80, 350, 2100),
    "a3": _Measured(0.952, 120, 720, 3000),
    "a4": _Measured(2.644, 130, 790, 4800),
    "a5": _Measured(4.696, 175, 720, 6800),
    "a0_stream": _Measured(0.106, 40, 210, 1100),
    "a1_stream": _Measured(0.238, 80, 470, 2400),
    "a2_stream": _Measured(0.461, 105, 420, 2300),
    "a3_stream": _Measured(0.924, 60, 880, 3500),
    "a4_stream": _Measured(2.558, 155, 1230, 5200),
    "a5_stream": _Measured(4.567, 200, 1260, 7500),
    "a0_stream_relu6": _Measured(0.099, 20, 150, 600),
}
