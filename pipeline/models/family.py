"""What a model family offers, and where: a family is a package of `pipeline.models` with the modules that are described here.

Every model is a frozen backbone and a trainable top. The backbone turns views into features, which are cached; the top is trained
on them. A family may train its whole network, too, and may run frame by frame.

| module | it defines | used by |
|---|---|---|
| `settings` | `Settings`: the section `model` of params.yaml, a subclass of `ModelSettings`. No TensorFlow | everywhere |
| `backbone` | `open_backbone`: what turns views into features, and what is saved next to them | embed |
| `top` | `build_top`, `save_top`: the trainable part | finetune (head) |
| `apply` | `predict`: the probabilities of cached features, in NumPy | evaluate |
| `training` | `build_network`, `save_network`; absent where only the top trains | finetune (last blocks, all) |
| `stream` | `open_stream`: the classifier frame by frame | export, predict |
| `pretrained` | `open_pretrained`, `IDS`; absent where no published weights classify videos | predict |
| `check` | `check_weights`: whether `model.weights` can be had and fits. No TensorFlow | doctor |

A new family is one package with these modules and its files in `conf/model`; nothing else changes. Helper modules that decide the
numbers lie in the family's `network/`, which dvc.yaml names as a whole.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from pydantic import Field

from pipeline import models
from pipeline.artifacts import ClassifierDescription
from pipeline.check_results import CheckResult
from pipeline.console import UserError
from pipeline.settings import Finetune, PositiveInt, Section

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras

    from pipeline.video.sampling import Sampling

FAMILIES = tuple(sorted(module.name for module in iter_modules(models.__path__) if module.ispkg))


class Cost(NamedTuple):
    """What a network takes, for estimates before a run.

    Attributes:
      gflop: of the forward pass of one frame of `pixels` pixels a side; a multiplication and an addition count as two.
      pixels: the side at which it was counted.
      start: seconds to build the network and trace its training step.
      forward, step: bytes of memory a pixel of a batch in inference and in training, beyond those of the built network.
      parameters: of the whole classifier.
      features: values that are cached for one view.
    """

    gflop: float
    pixels: int
    start: int
    forward: int
    step: int
    parameters: int
    features: int


class ModelSettings(Section):
    """The section `model` of params.yaml, as far as it is the same for every family.

    Attributes:
      family: the package of `pipeline.models`.
      id: names the registered model and runs.
      fps, resolution: frames a second and pixels of a side that the network was pretrained at.
      weights: where the initial values come from; each family says what it takes.
      watch: a local path whose change runs embed and finetune again: the weights, where they are a local path.
      short_clips: what becomes of a clip with fewer frames than a view: it is repeated, or padded and the padding masked.
    """

    family: str
    id: str
    fps: float = Field(gt=0)
    resolution: PositiveInt
    weights: str
    watch: str
    short_clips: ClassVar[Literal["repeat", "pad"]] = "repeat"
    PRETRAINED: ClassVar[tuple[str, ...]] = ()  # ids whose published weights classify videos

    @classmethod
    def of_id(cls, name: str) -> Self:
        """The settings of a classifier of which only `model.id` is known, as an earlier version wrote it."""
        raise UserError(f"{name}: its classifier.json does not say how the model was built", advice="train it again")

    @property
    def activation(self) -> str | None:
        """Of the top's first layer, where the family has had several."""
        return None

    @property
    def streams(self) -> bool:
        """Whether the classifier can run frame by frame."""
        raise NotImplementedError

    @property
    def to_stream(self) -> str:
        """What to do to get a classifier that runs frame by frame, for messages of one that does not."""
        raise NotImplementedError

    def check_training(self, finetune: Finetune) -> None:
        """Raises UserError where the model cannot be trained in this way."""

    def cost(self, frames: int) -> Cost:
        """Estimates for views of so many frames."""
        raise NotImplementedError


class Backbone(Protocol):
    """A frozen network as embed runs it.

    Attributes:
      shape: of the features of one view; (frames, P) where short clips are padded, so that a mask can say which frames count.
      digest: SHA-256 of the weights that it started from; None where they are random.
      made_with: what else decides the features, for the key of unfinished work and for embed.json.
    """

    shape: tuple[int, ...]
    digest: str | None
    made_with: dict[str, Any]

    def features(self, views: "tf.Tensor") -> "tf.Tensor":
        """float32 (N, *shape) of views float32 (N, count, size, size, 3) in [0, 1]."""

    def save(self, folder: Path) -> None:
        """Saves a SavedModel with the function `features`, which the workers of a cluster load."""

    def save_initial(self, folder: Path, views: int) -> None:
        """Writes into the folder of the embeddings what training and saving a top start from. views: of a served clip."""


class Stream(Protocol):
    """A classifier as TensorFlow runs it frame by frame.

    `call(image, states)`: float32 (1, T, size, size, 3) in [0, 1] and the states -> logits float32 (1, N) after the last of these
    frames, and the next states; a tf.function, traced for each T.

    Attributes:
      model: its id. classes: names in the order of the logits. fps: frames a second. sampling: of the views of whole clips.
      views: of a whole clip; None where nothing says how many.
      state_specs: name, shape and type of each state, sorted by name.
      float_operations, float_scopes: what a quantised file computes in float: builtin operations by name, and the convolutions in
        name scopes that begin so.
    """

    model: str
    classes: list[str]
    fps: float
    size: int
    sampling: "Sampling | None"
    views: int | None
    state_specs: "dict[str, tf.TensorSpec]"
    float_operations: Sequence[str]
    float_scopes: Sequence[str]
    call: Callable

    def init_states(self) -> "dict[str, tf.Tensor]":
        """The states before the first frame."""


class Pretrained(NamedTuple):
    """A classifier of published weights, which runs frame by frame or on views float32 (V, T, size, size, 3).

    Attributes:
      probabilities: of views, float32 (V, N); None where it runs frame by frame.
      to_stream: what to choose to run frame by frame, where it does not.
    """

    about: str
    classes: list[str]
    fps: float
    size: int
    stream: Stream | None
    probabilities: Callable[[np.ndarray], np.ndarray] | None
    to_stream: str = ""


def _module(family: str, name: str) -> ModuleType:
    if family not in FAMILIES:
        raise UserError(f"model.family = {family!r}: not one of {', '.join(FAMILIES)}")
    return import_module(f"{models.__name__}.{family}.{name}")


def settings_class(family: str) -> type[ModelSettings]:
    """The section `model` of a family. Raises UserError for a name that is none."""
    return _module(family, "settings").Settings


def settings_of(description: ClassifierDescription) -> ModelSettings:
    """The section `model` that a classifier was trained with."""
    made = settings_class(description.family)
    return made.model_validate(description.settings) if description.settings else made.of_id(description.model)


def open_backbone(model: ModelSettings, num_classes: int, sampling: "Sampling", seed: int) -> Backbone:
    """Builds the backbone and restores its weights. Raises UserError for weights that cannot be had or do not fit.

    num_classes: of the top that `save_initial` writes. seed: of random values.
    """
    return _module(model.family, "backbone").open_backbone(model, num_classes, sampling, seed)


def build_top(model: ModelSettings, finetune: Finetune, embeddings: Path, num_classes: int, seed: int) -> "tf_keras.Model":
    """A top with its initial values: features as `Backbone.shape` has them -> logits float32 (B, num_classes).

    Where short clips are padded it takes {"features": (B, frames, P), "mask": bool (B, frames)}.
    """
    return _module(model.family, "top").build_top(model, finetune, embeddings, num_classes, seed)


def save_top(top: "tf_keras.Model", embeddings: Path, folder: Path, description: ClassifierDescription) -> int:
    """Writes the trained top with its backbone into a classifier's folder; returns the number of parameters of both.

    The folder then holds what `predict` and `open_stream` read, and `saved_model`: a SavedModel with the signature
    `serving_default`, whole clips uint8 (B, T, H, W, 3) -> probabilities, and the function `probabilities` of views.
    """
    return _module(description.family, "top").save_top(top, embeddings, folder, description)


def predict(classifier: Path, description: ClassifierDescription, features: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Probabilities float32 (N, C) of the cached features (N, *shape) of N views; mask: bool (N, frames)."""
    return _module(description.family, "apply").predict(classifier, description, features, mask)


def initial_weights_digest(model: ModelSettings) -> str | None:
    """SHA-256 of the weights that training the network starts from; None where they are random."""
    return _module(model.family, "training").initial_weights_digest(model)


def build_network(model: ModelSettings, finetune: Finetune, num_classes: int, seed: int) -> "tf_keras.Model":
    """A network to train, restored, with what `finetune` freezes frozen: {"image": views} -> logits float32 (B, num_classes)."""
    return _module(model.family, "training").build_network(model, finetune, num_classes, seed)


def save_network(network: "tf_keras.Model", folder: Path, description: ClassifierDescription, *, portable: bool) -> int:
    """Writes a trained network as `save_top` does. portable: it is float32, and its variables are of no strategy."""
    return _module(description.family, "training").save_network(network, folder, description, portable=portable)


def open_stream(classifier: Path, description: ClassifierDescription) -> Stream:
    """The classifier in a folder that finetune wrote, frame by frame. Raises UserError where it cannot run so."""
    return _module(description.family, "stream").open_stream(classifier, description)


def pretrained_ids() -> dict[str, str]:
    """The ids of published classifiers, and the family of each."""
    return {
        name: family
        for family in FAMILIES
        if (_package(family) / "pretrained.py").exists()
        for name in settings_class(family).PRETRAINED
    }


def open_pretrained(name: str, weights: str, labels: Path | None) -> Pretrained:
    """Opens published weights. weights: as `model.weights`. labels: a file with the names of the classes; None: the published."""
    known = pretrained_ids()
    if name not in known:
        raise UserError(f"--pretrained {name}: not one of {', '.join(known)}")
    return _module(known[name], "pretrained").open_pretrained(name, weights, labels)


def check_weights(model: ModelSettings) -> CheckResult:
    """Whether `model.weights` can be had and fits the network, without TensorFlow and without fetching it."""
    return _module(model.family, "check").check_weights(model)


def _package(family: str) -> Path:
    return Path(models.__path__[0]) / family
